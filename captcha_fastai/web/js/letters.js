// What a reading knows of its letters: how sure each is, what else it could be, where it stands
import { ctcLogProb, lattice, logAdd, sweep } from './decode.js'
import { answer, whatFollows } from './net.js'
import { allows } from './rules.js'

const STRIPS = 24   // that are covered in turn, where a model does not say where it looked
const swapped = (ids, i, c) => ids.map((o, k) => k === i ? c : o)

async function swapScores(reader, said, ids, i) {   // log-probability of the text with each class in the i-th place
  const classes = [...Array(reader.chars.length + 1).keys()]
  if (reader.loss === 'CharLoss') return said[i]
  if (reader.loss === 'CTCLoss') return classes.map(c => c ? ctcLogProb(said, swapped(ids, i, c)) : -Infinity)
  const before = c => [0, ...swapped(ids, i, c)].slice(0, reader.width + 1)   // a text that fills the width has no end
  const rows = await whatFollows(reader, classes.map(before), said)
  return rows.map((steps, c) => steps.reduce((sum, p, k) => sum + p[[...swapped(ids, i, c), 0][k]], 0))
}

function probabilities(scores, ids, i, rule) {   // among the texts that the rule allows
  const own = ids[i], may = c => c && (!rule || allows(rule, swapped(ids, i, c)))
  const all = Array.from(scores, (s, c) => may(c) ? s : -Infinity)
  const sum = all.reduce(logAdd)
  return sum === -Infinity ? all.map((_, c) => Number(c === own)) : all.map(s => Math.exp(s - sum))
}

function posterior(lp, ids) {   // for each letter: how probable each column is its
  const net = lattice(ids), turned = lattice([...ids].reverse()), n = net.rows.length
  const to = sweep(lp, net), from = sweep([...lp].reverse(), turned).reverse(), last = to.at(-1)
  const whole = logAdd(last.at(-1), last.at(-2))
  return ids.map((id, k) => lp.map((p, t) => Math.exp(to[t][2 * k + 1] + from[t][n - 2 - 2 * k] - p[id] - whole)))
}

async function lost(reader, picture, said, ids) {   // for each letter: what covering each part of the picture costs
  const { x, w, h } = picture, area = w * h
  const nats = async o => {
    const rows = reader.loss === 'TokenLoss' ? (await whatFollows(reader, [[0, ...ids.slice(0, -1)]], o))[0] : o
    return ids.map((id, k) => rows[k][id])
  }
  const covered = Array.from({ length: STRIPS }, (_, i) => {
    const one = Uint8Array.from(x), mid = (i + .5) * w / STRIPS
    const from = Math.max(0, Math.round(mid - w / STRIPS)), to = Math.min(w, Math.round(mid + w / STRIPS))
    for (let c = 0; c < reader.channels; c++) {
      const mean = x.subarray(c * area, (c + 1) * area).reduce((a, b) => a + b, 0) / area
      for (let row = c * area; row < (c + 1) * area; row += w) one.fill(mean, row + from, row + to)
    }
    return { x: one, w, h }
  })
  const before = await nats(said), after = []
  for (const o of await answer(reader, covered)) after.push(await nats(o))
  return ids.map((_, k) => after.map(o => Math.max(0, before[k] - o[k])))
}

function centres(reader, n, w) {   // the middle of what each part sees, pixels of the model's picture
  const { first, stride } = reader.columns ?? {}, known = reader.columns && Math.abs(n * stride - w) < stride
  return Array.from({ length: n }, (_, i) => known ? first + stride * i : (i + .5) * w / n)
}

function spans(profiles, at, w, h) {   // halfway to the neighbours, less a tenth on either side
  let furthest = -Infinity
  const mid = profiles.map(row => {
    const top = Math.max(...row), near = row.map(o => o >= top / 2 ? o : 0), sum = near.reduce((a, b) => a + b, 0)
    furthest = Math.max(furthest, near.reduce((s, o, i) => s + o * at[i], 0) / Math.max(sum, 1e-9))
    return furthest
  })
  const half = mid.length > 1 ? (mid.at(-1) - mid[0]) / (mid.length - 1) / 2 : .35 * h
  const edges = [mid[0] - half, ...mid.slice(1).map((o, i) => (o + mid[i]) / 2), mid.at(-1) + half]
  const inside = edges.map(o => Math.min(w, Math.max(0, o)))
  return mid.map((_, k) => [.9 * inside[k] + .1 * inside[k + 1], .1 * inside[k] + .9 * inside[k + 1]])
}

export async function lettersOf(reader, picture, said, ids, rule) {   // { char, confidence, others, span } each
  if (!ids.length) return []
  const profiles = reader.loss === 'CTCLoss' ? posterior(said, ids) : await lost(reader, picture, said, ids)
  const where = spans(profiles, centres(reader, profiles[0].length, picture.w), picture.w, picture.h), letters = []
  for (const [i, id] of ids.entries()) {
    const p = probabilities(await swapScores(reader, said, ids, i), ids, i, rule)
    const others = [...p.keys()].filter(c => c && c !== id && p[c] > 0).sort((a, b) => p[b] - p[a]).slice(0, 3)
    letters.push({ char: reader.chars[id - 1], confidence: p[id], span: where[i].map(o => o / picture.w),
      others: others.map(c => [reader.chars[c - 1], p[c]]) })
  }
  return letters
}
