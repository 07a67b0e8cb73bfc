// Pictures of one kind tell of each other: which characters and lengths to expect, counted as `expected` does in Python
import { logAdd } from './decode.js'

const FEW = .5        // of each character and each length, added to what was counted
const ENOUGH = .25    // of what a usual character counts: one that counts so much is as usual as any
const RARE = -3, COMMON = 1.5   // nats that a character can lose and gain
const CLEAR = .95     // what is read with so much confidence is believed, however unusual its length
const MANY = 50, MOST = 500, TAUGHT = 200   // pictures that tell of each other, that are looked at; labels enough

export function canExpect(reader) {   // one that writes by itself can't; one with many labels needs no other help
  const labels = Object.values(reader.lengths ?? {}).reduce((a, b) => a + b, 0)
  return reader.loss !== 'TokenLoss' && labels < TAUGHT && !reader.facts?.acceptance
}

export function someOf(items) {   // evenly out of all; none where they are too few to tell of each other
  const step = Math.max(1, Math.floor(items.length / MOST))
  return items.length < MANY ? [] : items.filter((_, i) => i % step === 0)
}

function counted(readings) {   // each as much as it is sure
  const chars = new Map(), lengths = new Map(), add = (to, key, p) => to.set(key, (to.get(key) ?? 0) + p)
  for (const { ids, confidence, error } of readings) {
    if (error) continue
    add(lengths, ids.length, confidence)
    for (const o of ids) add(chars, o, confidence)
  }
  return { chars, lengths }
}

function nats({ chars }, n) {   // what to add to the logarithm of each class; the first is no character
  const counts = Array.from({ length: n }, (_, i) => (chars.get(i + 1) ?? 0) + FEW), sum = o => o.reduce((a, b) => a + b, 0)
  const usual = sum(counts.map(o => o * o)) / sum(counts)   // of a character that one meets
  const capped = counts.map(o => Math.min(o, ENOUGH * usual)), all = sum(capped)
  return [0, ...capped.map(o => Math.min(Math.max(Math.log(n * o / all), RARE), COMMON))]
}

export function expecting(reader, readings) {   // the same reader, but for what it expects
  const seen = counted(readings), most = Math.max(0, ...seen.lengths.values())
  const usual = ids => ((seen.lengths.get(ids.length) ?? 0) + FEW) / (most + FEW)
  return { ...reader, nats: nats(seen, reader.chars.length), usual, sure: (ids, p) => p >= CLEAR ? p : p * usual(ids) }
}

export function weighed(row, nats) {   // log-probabilities of the classes, with what each is worth more or less
  const out = Float64Array.from(row, (o, c) => o + nats[c]), all = out.reduce(logAdd)
  return out.map(o => o - all)
}
