// One picture looked at closely: its text, a box over each letter, and what the letter could be instead
const at = id => document.getElementById(id)
const UNSURE = .9   // below it a letter is marked
export const percent = p => `${(100 * p).toFixed(1)}\u00a0%`

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
  const said = more.length ? `or ${more.map(([c, p]) => `${c} ${percent(p)}`).join(', ')}` : 'no other likely'
  res.append(Object.assign(document.createElement('small'), { textContent: said }))
  return res
}

export function showCloser({ name, url, w, h, text, confidence, ms }, letters) {
  at('closer').hidden = false
  at('closer-name').textContent = name
  Object.assign(at('picture'), { src: url, alt: `The picture, read as ${text}` })
  at('stage').style.maxWidth = `min(100%, ${5 * w}px, ${50 * w / h}vh)`
  at('text').textContent = text
  at('copy').hidden = !text
  const time = ms < 10 ? ms.toFixed(1) : Math.round(ms)
  at('sure').textContent = `${text ? '' : 'No text found: '}${percent(confidence)} sure, read in ${time} ms`
  at('boxes').replaceChildren(...letters.map(box))
  at('letters').replaceChildren(...letters.map(line))
}
