// What a model's log-probabilities mean: a search for each loss, as read.py has it; class 0 is the blank, or the end
import { whatFollows } from './net.js'

const NO = -Infinity
export const logAdd = (a, b) => a < b ? logAdd(b, a) : b === NO ? a : a + Math.log1p(Math.exp(b - a))
export const argmax = a => a.reduce((best, o, i) => o > a[best] ? i : best, 0)

export function lattice(ids) {   // rows: a blank, the first character, a blank, ...; `hop`: may the blank be skipped?
  const rows = [0, ...ids.flatMap(o => [o, 0])]
  return { rows, hop: rows.map((o, s) => o > 0 && s > 1 && o !== rows[s - 2]) }
}

export function sweep(lp, { rows, hop }) {   // all paths that reach each row, column by column
  let a = rows.map((o, s) => s < 2 ? lp[0][o] : NO)
  return [a, ...lp.slice(1).map(p => a = rows.map((o, s) =>
    logAdd(logAdd(a[s], s > 0 ? a[s - 1] : NO), hop[s] ? a[s - 2] : NO) + p[o]))]
}

export function ctcLogProb(lp, ids) {   // of a text, given columns: all its paths summed
  const last = sweep(lp, lattice(ids)).at(-1)
  return logAdd(last.at(-1), last.at(-2) ?? NO)
}

function ctcSearch(lp, { table, ends, need }, beam = 10) {   // prefix beam search: texts, the most probable first
  const total = o => logAdd(o.blank, o.letter), V = lp[0].length
  let beams = [{ ids: [], key: '', state: 1, blank: 0, letter: NO }]   // log-probability by what stands at the end
  lp.forEach((p, t) => {
    const left = lp.length - 1 - t, at = new Map(beams.map((o, i) => [o.key, i])), ways = []
    const stays = beams.map(o => ({ ...o, blank: total(o) + p[0], letter: o.letter + p[o.ids.at(-1) ?? 0] }))
    const longer = (o, c) => (c === o.ids.at(-1) ? o.blank : total(o)) + p[c]   // a double needs a blank between
    const there = new Set()   // what leads to a text that is among the beams is its own
    beams.forEach((o, j) => {
      const c = o.ids.at(-1), i = c && at.get(o.ids.slice(0, -1).join())
      if (i === undefined) return
      stays[j].letter = logAdd(stays[j].letter, longer(beams[i], c))
      there.add(i * V + c)
    })
    beams.forEach((o, i) => {
      if (need[o.state] <= left) ways.push([total(stays[i]), i, 0])
      const sum = total(o), last = o.ids.at(-1), to = table[o.state]
      for (let c = 1; c < V; c++)
        if (need[to[c]] <= left && !there.has(i * V + c)) ways.push([(c === last ? o.blank : sum) + p[c], i, c])
    })
    beams = ways.filter(o => o[0] > NO).sort((a, b) => b[0] - a[0]).slice(0, beam).map(([score, i, c]) => {
      if (!c) return stays[i]
      const ids = [...beams[i].ids, c]
      return { ids, key: ids.join(), state: table[beams[i].state][c], blank: NO, letter: score }
    })
  })
  return beams.filter(o => ends[o.state]).sort((a, b) => total(b) - total(a)).map(o => o.ids)
}

function columns(reader, lp, rule) {
  const best = lp.map(argmax)
  const merged = best.filter((o, t) => o && o !== best[t - 1])   // of repeats one, of blanks none
  const ids = rule ? ctcSearch(lp, rule)[0] : merged
  return ids && { ids, score: ctcLogProb(lp, ids) }
}

function places(reader, lp, rule) {   // the most probable text of places, class 0 for none (Viterbi)
  const { table, ends } = rule, over = ends.map(o => o ? 0 : NO), moves = []
  let value = over, nothing = 0
  for (const p of [...lp].reverse()) {
    nothing += p[0]
    const ways = table.map((row, s) => row.map((to, c) => c ? value[to] + p[c] : over[s] + nothing))
    moves.unshift(ways.map(argmax))
    value = ways.map(o => Math.max(...o))
  }
  const ids = []
  let state = 1
  for (const o of moves) {
    if (!o[state]) break
    ids.push(o[state])
    state = table[state][o[state]]
  }
  return value[1] > NO && { ids, score: lp.reduce((sum, p, i) => sum + p[ids[i] ?? 0], 0) }
}

async function steps(reader, memory, rule) {   // beam search, one character after the other
  const beam = rule ? 4 : 1
  let beams = [{ ids: [0], state: 1, ended: false, score: 0 }]
  for (let left = reader.width; left >= 0; left--) {
    const said = await whatFollows(reader, beams.map(o => o.ids), memory), ways = []
    beams.forEach((o, i) => said[i].at(-1).forEach((p, c) => {
      if (o.ended ? c : rule && !(c ? rule.need[rule.table[o.state][c]] < left : rule.ends[o.state])) return
      const state = rule ? rule.table[o.state][c] : 1
      ways.push({ ids: [...o.ids, c], state, ended: o.ended || !c, score: o.score + (o.ended ? 0 : p) })
    }))
    beams = ways.sort((a, b) => b.score - a.score).slice(0, beam)
  }
  return beams.length && { ids: beams[0].ids.filter(o => o), score: beams[0].score }
}

const SEARCHES = { CTCLoss: columns, CharLoss: places, TokenLoss: steps }

export async function search(reader, said, rule) {   // { ids, score }: the most probable text that `rule` allows
  const found = await SEARCHES[reader.loss](reader, said, rule)
  if (!found) throw new Error('the model has no room for a text that is allowed')
  return found
}

export function textOf({ chars, rtl }, ids) {   // scripts from the right are turned round, all but numbers
  const drawn = ids.map(o => chars[o - 1]), turned = o => o.reverse().join('')
  return rtl ? turned(drawn).replace(/[\p{Nd}!-~]+/gu, o => turned(Array.from(o))) : drawn.join('')
}
