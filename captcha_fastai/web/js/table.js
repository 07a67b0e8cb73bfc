// The table of all readings, and its CSV
import { percent } from './closer.js'

export function newRow(item, show) {   // a row that says what is known of a picture so far
  const [row, head, button] = ['tr', 'th', 'button'].map(o => document.createElement(o))
  head.scope = 'row'
  Object.assign(button, { type: 'button', className: 'name', textContent: item.name })
  button.addEventListener('click', () => show(item))
  head.append(button)
  row.append(head)
  row.insertCell().textContent = '…'
  row.insertCell()
  return row
}

export function fillRow({ row, url, text, confidence, error }) {
  const [head, said, sure] = row.cells, button = head.firstChild
  const image = Object.assign(new Image(), { src: url, alt: '', loading: 'lazy' })
  if (!error && !button.querySelector('img')) button.prepend(image)
  said.textContent = error ?? (text || '(empty)')
  said.className = error ? 'wrong' : 'read'
  said.colSpan = error ? 2 : 1
  sure.hidden = Boolean(error)
  sure.className = confidence < .5 ? 'unsure' : ''
  sure.textContent = error ? '' : percent(confidence)
}

function cell(value) {   // what a spreadsheet would take for a formula is made text by an apostrophe
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

export function csv(items) {
  const bad = items.some(o => o.error), head = ['file', 'text', 'confidence', ...bad ? ['error'] : []]
  const sure = o => o.error ? '' : o.confidence?.toFixed(4) ?? ''
  const rows = items.map(o => [o.name, o.text ?? '', sure(o), ...bad ? [o.error ?? ''] : []])
  return [head, ...rows].map(row => `${row.map(cell).join()}\r\n`).join('')
}

export function download(name, text) {
  const href = URL.createObjectURL(new Blob([text], { type: 'text/csv' }))
  const link = Object.assign(document.createElement('a'), { download: name, href })
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 1000)
}
