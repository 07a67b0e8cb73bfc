// One picture looked at closely: its text, a box over each letter, and what the letter could be instead
const at = id => document.getElementById(id)
const UNSURE = .9   // below it a letter is marked
export const percent = p => `${(100 * p).toFixed(1)} %`

function box({ char, confidence, span: [left, right] }) {
  const res = document.createElement('span')
  res.dataset.char = char
  res.className = confidence < UNSURE ? 'unsure' : ''
  Object.assign(res.style, { left: `${100 * left}%`, width: `${100 * (right - left)}%` })
  return res
}

function line({ char, confidence, others }) {
  const res = document.createElement('li'), more = others.filter(([, p]) => p >= .001)
  res.className = confidence < UNSURE ? 'unsure' : ''
  res.append(Object.assign(document.createElement('b'), { textContent: char }), percent(confidence))
  const said = more.length ? `or ${more.map(([c, p]) => `${c} ${percent(p)}`).join(', ')}` : 'hardly anything else'
  res.append(Object.assign(document.createElement('small'), { textContent: said }))
  return res
}

export function showCloser({ name, url, text, confidence, ms }, letters) {
  at('closer').hidden = false
  at('closer-name').textContent = name
  Object.assign(at('picture'), { src: url, alt: `The picture, read as ${text}` })
  at('text').textContent = text
  at('copy').hidden = !text
  at('sure').textContent = text ? `${percent(confidence)} sure${ms ? `, read in ${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms` : ''}`
    : `No text found (${percent(confidence)} sure)`
  at('boxes').replaceChildren(...letters.map(box))
  at('letters').replaceChildren(...letters.map(line))
}
