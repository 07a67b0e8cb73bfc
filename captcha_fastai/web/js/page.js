// The page: pictures come in, are read one after the other, and are shown
import { showCloser } from './closer.js'
import { search, textOf } from './decode.js'
import { canExpect, expecting, someOf } from './expected.js'
import { fromDrop, fromFiles, fromUrls } from './files.js'
import { lettersOf } from './letters.js'
import { answer, loadReader } from './net.js'
import { modelPixels, openPicture } from './open.js'
import { rule } from './rules.js'
import { overSizes } from './sizes.js'
import { csv, download, fillRow, newRow } from './table.js'

const at = id => document.getElementById(id), BATCH = 4, LOOKS = 4, FIELDS = ['length', 'chars', 'pattern']
const say = (text, wrong = false) => {
  at('status').textContent = text
  at('status').classList.toggle('wrong', wrong)
}
let items = [], known, shown, round = 0   // pictures in order; the rule; the one that is looked at; counts starts anew
let current   // the reader, with what it expects of the pictures that are there

let loaded = 0
export const ready = loadReader(n => { loaded += n; say(`Loading the reader: ${(loaded / 1e6).toFixed(1)} MB …`) })

export async function readBlobs(blobs, rule) {   // { text, confidence, ids, said, picture } or { error } each
  const reader = await ready, res = []
  const open = async o => ({ picture: modelPixels(await openPicture(o), reader) })
  for (const o of blobs) res.push(await open(o).catch(error => ({ error })))
  return readOpened(reader, res, rule)
}

async function readOpened(reader, opened, rule) {
  const groups = Map.groupBy(opened.filter(o => o.picture), o => o.picture.w)
  for (const group of groups.values()) {
    const said = await answer(reader, group.map(o => o.picture))
    for (const [i, o] of group.entries()) {
      try {
        let { ids, score } = await search(reader, said[i], rule)
        const sure = Math.min(1, Math.exp(score))
        if (reader.other_sizes && !((reader.sure?.(ids, sure) ?? sure) > reader.other_sizes))
          ({ ids, score } = await overSizes(reader, o.picture, said[i], ids, rule))
        Object.assign(o, { ids, said: said[i], text: textOf(reader, ids), confidence: Math.min(1, Math.exp(score)) })
      } catch (error) { o.error = error }
    }
  }
  return opened
}

// ------------------------------------------------------------ what comes in

async function take(found) {
  const before = items.length
  for await (const { name, open } of found) items.push({ name, open })
  if (items.length === before) return say('There is no picture in what was given.', true)
  for (const o of items.slice(before)) o.row = newRow(o, show)
  at('rows').append(...items.slice(before).map(o => o.row))
  at('all').hidden = items.length < 2
  shown = items[before]
  readAll()
}

// ------------------------------------------------------------ reading

async function opened(item) {
  try {
    const blob = await item.open()
    item.url ??= URL.createObjectURL(blob)
    const picture = await openPicture(blob)
    Object.assign(item, { w: picture.w, h: picture.h, picture: modelPixels(picture, await ready) })
  } catch (e) { item.error = e.message }
}

async function readBatch(batch, mine, reader) {
  const start = performance.now()
  for (const o of batch) if (!o.picture && !o.error) await opened(o)
  const good = batch.filter(o => o.picture)
  const answers = await readOpened(reader, good.map(o => ({ picture: o.picture })), known)
  if (mine !== round) return   // another rule, or other pictures, since
  good.forEach((o, i) => {
    const { text, confidence, ids, said, error } = answers[i]
    Object.assign(o, { text, confidence, ids, said: o === shown ? said : undefined, error: error?.message })
  })
  for (const o of batch) {
    o.ms = (performance.now() - start) / batch.length
    fillRow(o)
  }
}

async function readSome(some, mine, reader, what) {   // a batch at a time, so that the page can be used meanwhile
  current = reader
  for (let i = 0; i < some.length && mine === round;) {
    const batch = some.slice(i, i += some.length > 1 ? BATCH : 1)
    await readBatch(batch, mine, reader)
    if (batch.includes(shown) && mine === round) await show(shown, false)
    if (i < some.length && mine === round) say(`${i} of ${some.length} ${what} …`)
    await new Promise(o => setTimeout(o))
  }
}

async function look(reader, some, mine) {   // until they are read as the last time, as `expected.look` does
  let last, kind = reader
  for (let i = 0; i < LOOKS && mine === round; i++) {
    if (i) await readSome(some, mine, kind, 'read again')
    const texts = some.map(o => o.text).join('\n')
    if (texts === last) break
    last = texts
    kind = expecting(reader, some)
  }
  return kind
}

async function readAll() {   // all that has not been read under this rule
  const mine = ++round
  for (const o of items) if (o.picture) o.error = undefined
  const reader = await ready.catch(() => null)
  if (!reader) return   // the page says so
  const start = performance.now(), told = FIELDS.some(o => at(o).value.trim()) || !at('alike').checked
  const some = told || !canExpect(reader) ? [] : someOf(items)
  await readSome(items, mine, reader, 'read')
  if (some.length && mine === round) {
    const kind = await look(reader, some, mine)
    if (mine === round) await readSome(items, mine, kind, 'read as of one kind')
  }
  if (mine === round) say(summary((performance.now() - start) / 1000, some.length), items.every(o => o.error))
}

function summary(seconds, alike) {
  const bad = items.filter(o => o.error).length, n = items.length - bad, failed = bad ? `, ${bad} not read` : ''
  if (items.length === 1) return `${items[0].name}: ${items[0].error ?? (items[0].text || 'no text found')}`
  const how = alike ? ' as of one kind' : ''
  return `${n} pictures read${how}${failed}; ${Math.round(items.length / seconds)} a second`
}

async function show(item, moveTo = true) {
  shown?.row.classList.remove('shown')
  shown = item
  item.row.classList.add('shown')
  at('closer').hidden = !item.picture || Boolean(item.error) || item.text === undefined
  if (at('closer').hidden) return
  const said = item.said ?? (await answer(current, [item.picture]))[0]
  const letters = await lettersOf(current, item.picture, said, item.ids, known)
  if (item !== shown) return
  showCloser(item, letters)
  if (moveTo) at('closer').focus()
}

// ------------------------------------------------------------ what is known of the texts

async function changed() {
  const fields = FIELDS.map(at), reader = await ready
  fields.forEach(o => o.removeAttribute('aria-invalid'))
  at('known-error').textContent = ''
  try { known = rule(reader, Object.fromEntries(fields.map(o => [o.id, o.value.trim()]))) } catch (e) {
    at('known-error').textContent = e.message
    fields.find(o => e.message.startsWith(o.id.slice(0, 4)))?.setAttribute('aria-invalid', 'true')
    return
  }
  if (items.length) readAll()
}

function clear() {
  round++
  items.forEach(o => URL.revokeObjectURL(o.url))
  items = []
  shown = undefined
  at('rows').replaceChildren()
  for (const o of ['all', 'closer']) at(o).hidden = true
  say('Ready.')
  at('pick-files').focus()
}

// ------------------------------------------------------------ listening

for (const [button, input] of [['pick-files', 'files'], ['pick-folder', 'folder'], ['pick-camera', 'camera']]) {
  at(button).addEventListener('click', () => at(input).click())
  at(input).addEventListener('change', e => { take(fromFiles([...e.target.files])); e.target.value = '' })
}
for (const kind of ['dragover', 'dragleave', 'drop']) addEventListener(kind, e => {
  e.preventDefault()
  at('drop').classList.toggle('over', kind === 'dragover')
  if (kind === 'drop') take(fromDrop(e.dataTransfer))
})
at('try').addEventListener('click', async () => take(fromUrls((await ready).examples)))
addEventListener('paste', e => { if (e.clipboardData.files.length) take(fromFiles([...e.clipboardData.files])) })
let waiting
at('known').addEventListener('input', () => { clearTimeout(waiting); waiting = setTimeout(changed, 300) })
at('known').addEventListener('submit', e => { e.preventDefault(); changed() })
at('copy').addEventListener('click', async () => {
  const done = await navigator.clipboard.writeText(at('text').textContent).then(() => true, () => false)
  say(done ? 'Copied.' : 'The browser does not allow copying.')
})
at('csv').addEventListener('click', () => download('readings.csv', csv(items)))
at('clear').addEventListener('click', clear)

at('not-started').hidden = true
if (matchMedia('(max-width: 40rem)').matches) at('known-details').open = false
try {
  const reader = await ready
  known = rule(reader, {})
  at('of-one-kind').hidden = !canExpect(reader)
  say(items.length ? '' : 'Ready.')
  at('about').textContent = `The reader (${reader.arch}) knows ${reader.chars.length} characters: ${reader.chars.join('')}. `
    + `${(loaded / 1e6).toFixed(1)} MB were loaded; from now on this page needs no network.`
} catch (e) { say(`The reader could not be loaded: ${e.message}`, true) }
