// What somebody knows of a text, as a table from state and id to state: 0 is a dead end, 1 the start
const NEVER = 2 ** 30

export function rule({ chars: all, loss, rtl }, { length, chars, pattern }) {   // undefined where nothing is known
  if (!length && !chars && !pattern) return loss === 'CharLoss' ? made(all, 0, null, all) : undefined
  const [lo, hi] = length ? span(length) : [0, null], some = chars ? Array.from(chars.normalize('NFC')) : all
  const bad = some.find(o => !all.includes(o))
  if (bad) throw new Error(`characters: “${bad}” is not one that this reader knows: ${all.join('')}`)
  if (pattern && rtl) throw new Error('pattern: it would run from left to right; give a length or characters')
  const res = made(all, lo, hi, some, pattern && table(pattern.normalize('NFC'), all))
  if (res.need[1] >= NEVER) throw new Error('no text can be all of this at once')
  return res
}

function span(text) {
  const found = /^\s*(\d{1,3})\s*(?:[-–]\s*(\d{1,3}))?\s*$/.exec(text)
  if (!found) throw new Error(`length: “${text}” is no number as 5, and no two as 4-6`)
  const [lo, hi] = [found[1], found[2] ?? found[1]].map(Number)
  if (hi < lo) throw new Error(`length: ${lo}-${hi} runs backwards`)
  return [lo, hi]
}

function made(all, lo, hi, some, pattern) {
  const { table, ends } = pattern || { table: [[], Array(all.length + 1).fill(1)], ends: [false, true] }
  const n = 1 + (hi ?? lo), may = [true, ...all.map(o => some.includes(o))]   // of characters that came, what matters
  const at = (s, count) => s * n + count - n + 1   // a state of the pattern, with that count
  const rows = [Array(all.length + 1).fill(0)], end = [false]
  for (let s = 1; s < table.length; s++)
    for (let count = 0; count < n; count++) {
      const then = hi === null ? Math.min(count + 1, lo) : count + 1
      const next = c => may[c] && table[s][c] && then < n ? at(table[s][c], then) : 0
      rows[at(s, count)] = may.map((_, c) => c ? next(c) : at(s, count))
      end[at(s, count)] = ends[s] && count >= lo
    }
  return finished(rows, end)
}

function finished(table, ends) {   // `need`: characters that a text in a state lacks, at least
  let need = ends.map(o => o ? 0 : NEVER), changed = true
  while (changed) {
    const onward = row => 1 + row.reduce((best, to, c) => c ? Math.min(best, need[to]) : best, NEVER)
    const next = need.map((o, s) => Math.min(o, onward(table[s])))
    changed = next.some((o, s) => o < need[s])
    need = next
  }
  return { table: table.map(row => row.map(to => need[to] < NEVER ? to : 0)), ends, need }
}

export function allows({ table, ends }, ids) { return ends[ids.reduce((state, c) => table[state][c], 1)] }

class Pattern {   // a restricted regular expression: a b [a-z] [^x] . \d (a|b) * + ? {2} {2,4}
  constructor(text, chars) { Object.assign(this, { text: Array.from(text), chars, i: 0 }) }
  fail(why) { throw new Error(`pattern, character ${this.i + 1}: ${why}`) }
  get next() { return this.text[this.i] ?? '' }
  take(c) {
    if (c && this.next !== c) this.fail(`“${c}” is missing here`)
    return this.text[this.i++] ?? ''
  }
  ids(test) { return { ids: this.chars.flatMap((o, i) => test(o) ? [i + 1] : []) } }
  char(c) {
    return this.chars.includes(c) ? this.ids(o => o === c) : this.fail(`“${c}” is not one of ${this.chars.join('')}`)
  }
  parse() {
    const res = this.either()
    return this.next ? this.fail(`“${this.next}” closes nothing`) : res
  }
  either() {
    const or = [this.sequence()]
    while (this.next === '|') { this.take(); or.push(this.sequence()) }
    return { or }
  }
  sequence() {
    const then = []
    while (this.next && !'|)'.includes(this.next)) then.push(this.repeated(this.atom()))
    return { then }
  }
  atom() {
    const c = this.next
    if ('*+?{]}^$'.includes(c)) this.fail(`“${c}” cannot stand here; for the character write \\${c}`)
    this.take()
    if (c === '[') return this.oneOf()
    if (c === '.') return this.ids(() => true)
    if (c === '\\') return this.escaped()
    if (c !== '(') return this.char(c)
    const res = this.either()
    this.take(')')
    return res
  }
  escaped() {
    const c = this.take()
    if (c === 'd') return this.ids(o => '0123456789'.includes(o))
    return /^[a-z0-9]?$/i.test(c) ? this.fail(`\\${c} has no meaning here`) : this.char(c)
  }
  oneOf() {
    const not = this.next === '^' && this.take(), ids = new Set()
    do { for (const o of this.part().ids) ids.add(o) } while (this.next && this.next !== ']')
    this.take(']')
    return this.ids(o => ids.has(this.chars.indexOf(o) + 1) !== Boolean(not))
  }
  part() {
    const c = this.take()
    if (c === '\\') return this.escaped()
    if (this.next !== '-' || [undefined, ']'].includes(this.text[this.i + 1])) return this.char(c)
    this.take('-')
    const hi = this.take()
    return hi < c ? this.fail(`${c}-${hi} runs backwards`) : this.ids(o => c <= o && o <= hi)
  }
  repeated(what) {
    if (!this.next || !'*+?{'.includes(this.next)) return what
    const c = this.take(), [lo, hi] = c === '{' ? this.braces() : { '*': [0, null], '+': [1, null], '?': [0, 1] }[c]
    if (this.next && '*+?{'.includes(this.next)) this.fail('a repeat of a repeat; use parentheses')
    return { what, lo, hi }
  }
  braces() {
    const found = /^(\d{0,2})(,?)(\d{0,2})}/.exec(this.text.slice(this.i).join(''))
    if (!found || !(found[1] || found[3])) this.fail('numbers up to 99 belong in braces, as {2} or {2,4}')
    const [whole, lo, comma, hi] = found
    this.i += whole.length
    return [Number(lo), comma ? (hi ? Number(hi) : null) : Number(lo)]
  }
}

function table(text, chars) {   // subsets of the states of a machine that may be in several at once
  const free = [], moves = []   // of each state: where it may go unseen, and by which ids
  const state = () => { moves.push([]); return free.push([]) - 1 }
  const build = (o, from) => {   // the state behind it
    if (o.then) return o.then.reduce((at, part) => build(part, at), from)
    const to = state()
    if (o.ids) moves[from].push([o.ids, to])
    else if (o.or) o.or.forEach(part => { const way = state(); free[from].push(way); free[build(part, way)].push(to) })
    else {
      for (let k = 0; k < o.lo; k++) from = build(o.what, from)
      for (let k = o.lo; k < (o.hi ?? o.lo); k++) { free[from].push(to); from = build(o.what, from) }
      free[from].push(to)
      if (o.hi === null) {   // and round as often as one likes
        const way = state()
        free[to].push(way)
        free[build(o.what, way)].push(to)
      }
    }
    return to
  }
  const start = state(), end = build(new Pattern(text, chars).parse(), start)
  if (free.length > 5000) throw new Error('pattern: it is too large; simplify it')
  const closed = states => {
    const seen = new Set(states)
    for (const s of seen) for (const to of free[s]) seen.add(to)
    return [...seen].sort((a, b) => a - b)
  }
  const found = [[], closed([start])], number = new Map([['', 0], [found[1].join(), 1]])
  const rows = [Array(chars.length + 1).fill(0)]
  for (let s = 1; s < found.length; s++) {
    const row = Array.from({ length: chars.length + 1 }, () => [])
    for (const from of found[s]) for (const [ids, to] of moves[from]) for (const c of ids) row[c].push(to)
    rows.push(row.map((to, c) => {
      const set = c ? closed(to) : [], key = set.join()
      if (!number.has(key)) number.set(key, found.push(set) - 1)
      return number.get(key)
    }))
    if (found.length > 2000) throw new Error('pattern: it needs more than 2000 states; simplify it')
  }
  return { table: rows, ends: found.map(o => o.includes(end)) }
}
