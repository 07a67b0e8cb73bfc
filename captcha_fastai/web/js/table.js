// The table of all readings, and its CSV
import { percent } from './closer.js'

export function newRow(item, show) {   // a row that says what is known of a picture so far
  const row = document.createElement('tr'), cells = Array.from({ length: 4 }, () => row.insertCell())
  const button = document.createElement('button')
  Object.assign(button, { type: 'button', className: 'name', textContent: item.name })
  button.addEventListener('click', () => show(item))
  cells[1].append(button)
  cells[2].textContent = '…'
  return row
}

export function fillRow({ row, url, text, confidence, error }) {
  const [picture, , said, sure] = row.cells
  if (url && !error && !picture.firstChild) picture.append(Object.assign(new Image(), { src: url, alt: '', loading: 'lazy' }))
  said.textContent = error ?? (text || '(empty)')
  said.className = error ? 'wrong' : ''
  said.colSpan = error ? 2 : 1
  sure.hidden = Boolean(error)
  if (!error) sure.textContent = `${percent(confidence)}${confidence < .5 ? ' ?' : ''}`
}

function cell(value) {   // what a spreadsheet would take for a formula is made text by an apostrophe
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

export function csv(items) {
  const bad = items.some(o => o.error), head = ['file', 'text', 'confidence', ...bad ? ['error'] : []]
  const rows = items.map(o => [o.name, o.text ?? '', o.error ? '' : o.confidence?.toFixed(4) ?? '', ...bad ? [o.error ?? ''] : []])
  return [head, ...rows].map(row => `${row.map(cell).join()}\r\n`).join('')
}

export function download(name, text) {
  const link = Object.assign(document.createElement('a'), { download: name, href: URL.createObjectURL(new Blob([text], { type: 'text/csv' })) })
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 1000)
}
