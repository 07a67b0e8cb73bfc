// What leaves the model unsure is read at three other sizes as well: the text that is the most probable, over all four
import { argmax, ctcLogProb, search } from './decode.js'
import { answer } from './net.js'
import { otherSizes } from './open.js'

export async function overSizes(reader, picture, said, ids, rule) {   // { ids, score }; `ids`: the text of `said`
  const all = [said], texts = [{ ids }]
  for (const o of otherSizes(picture, reader)) all.push(...await answer(reader, [o]))
  for (const o of all.slice(1)) texts.push(await search(reader, o, rule).catch(() => null))   // no room there
  const p = text => all.reduce((sum, o) => sum + Math.min(1, Math.exp(ctcLogProb(o, text))), 0) / all.length
  const usual = reader.usual ?? (() => 1), each = texts.map(o => o ? p(o.ids) : 0)
  const best = argmax(each.map((o, i) => o && o * usual(texts[i].ids)))
  return { ids: texts[best].ids, score: Math.log(each[best]) }
}
