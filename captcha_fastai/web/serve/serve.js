// The page of captcha_serve: pictures go to /read, a few at a time, and what comes back goes into the table
const get = id => document.getElementById(id)
const AT_ONCE = 16
let most = { pictures: 64, bytes: 8e6 }   // in a request, as the server will say

function cell(row, tag, text, kind) {
  const res = row.appendChild(document.createElement(tag))
  res.textContent = text
  if (kind) res.className = kind
  return res
}

function show(file, o) {
  const row = document.createElement('tr'), head = cell(row, 'th', '')
  head.scope = 'row'
  if (!o.error) {
    const im = head.appendChild(new Image())
    im.alt = ''
    im.src = URL.createObjectURL(file)
    im.onload = im.onerror = () => URL.revokeObjectURL(im.src)
  }
  head.append(o.file)
  if (o.error) {
    const why = cell(row, 'td', o.error.replace(`cannot open picture ${o.file}: `, ''), 'wrong')
    why.colSpan = 2
  } else {
    cell(row, 'td', o.text, 'read')
    cell(row, 'td', o.confidence.toFixed(3), o.confidence < .9 ? 'unsure' : '')
  }
  get('rows').append(row)
  get('all').hidden = false
}

// Lists of files that can go together
function* parts(files) {
  let part = [], bytes = 0
  for (const o of files) {
    if (part.length && (part.length === Math.min(AT_ONCE, most.pictures) || bytes + o.size > .9 * most.bytes)) {
      yield part
      part = []
      bytes = 0
    }
    part.push(o)
    bytes += o.size
  }
  if (part.length) yield part
}

async function ask(files) {
  const form = new FormData(get('known'))
  for (const [name, value] of [...form]) if (!value.trim()) form.delete(name)
  for (const o of files) form.append('pictures', o, o.name)
  for (let tries = 0; ; tries++) {
    const res = await fetch('read', { method: 'POST', body: form })
    const said = await res.json().catch(() => ({ error: `the server answered ${res.status}` }))
    if (res.status !== 503 || tries === 3) return said
    await new Promise(done => setTimeout(done, 1000 * (res.headers.get('Retry-After') || 1)))
  }
}

async function send(files) {
  const status = get('status'), large = o => o.size > .9 * most.bytes
  for (const o of files.filter(large)) show(o, { file: o.name, error: `it has ${o.size} bytes; send a smaller one` })
  let n = 0, done = 0
  status.className = ''
  for (const part of parts(files.filter(o => !large(o)))) {
    status.textContent = `Reading ${done + 1} of ${files.length} …`
    done += part.length
    let said
    try { said = await ask(part) } catch { said = { error: 'the server does not answer' } }
    if (!said.results) {
      status.className = 'wrong'
      status.textContent = said.error
      return
    }
    said.results.forEach((o, k) => show(part[k], o))
    n += said.results.filter(o => !o.error).length
  }
  status.textContent = `${n} of ${files.length} pictures read`
}

get('pick').onclick = () => get('files').click()
get('files').onchange = event => {
  send([...event.target.files])
  event.target.value = ''
}
get('known').onsubmit = event => event.preventDefault()
addEventListener('paste', event => event.clipboardData.files.length && send([...event.clipboardData.files]))
addEventListener('dragover', event => { event.preventDefault(); get('drop').classList.add('over') })
addEventListener('dragleave', event => event.relatedTarget || get('drop').classList.remove('over'))
addEventListener('drop', event => {
  event.preventDefault()
  get('drop').classList.remove('over')
  if (event.dataTransfer.files.length) send([...event.dataTransfer.files])
})
fetch('health').then(o => o.json()).then(o => { most = o.limits }).catch(() => {})
