// Which pictures somebody meant: files, a folder with all below it, a zip
const PICTURE = /\.(a?png|avif|bmp|dib|gif|heic|heif|ico|jfif|jpe?g|jp2|pcx|pgm|ppm|qoi|tga|tiff?|webp)$/i
const hidden = name => name.split('/').some(o => o.startsWith('.') || o === '__MACOSX')
const MOST_BYTES = 2 ** 28   // of one file in a zip

export async function inflate(blob, format, most) {   // the first `most` bytes, so that none can fill the memory
  const reader = blob.stream().pipeThrough(new DecompressionStream(format)).getReader(), parts = []
  let n = 0
  while (n < most) {
    const { value, done } = await reader.read()
    if (done) break
    parts.push(value)
    n += value.length
  }
  reader.cancel().catch(() => {})
  return new Uint8Array(await new Blob(parts).slice(0, most).arrayBuffer())
}

async function bytes(file, from, to) { return new DataView(await file.slice(from, to).arrayBuffer()) }

async function zipEntries(file) {   // by the directory at the end of a zip
  const start = Math.max(0, file.size - 65557), tail = await bytes(file, start, file.size)
  let end = tail.byteLength - 22
  while (end >= 0 && tail.getUint32(end, true) !== 0x06054b50) end--
  if (end < 0) throw new Error('it has no directory: it is damaged, or no zip')
  const n = tail.getUint16(end + 10, true), size = tail.getUint32(end + 12, true), from = tail.getUint32(end + 16, true)
  if (n === 0xffff || from === 0xffffffff) throw new Error('it is too large (zip64); unpack it and give the folder')
  const view = await bytes(file, from, from + size), entries = []
  for (let i = 0, at = 0; i < n; i++) {
    const there = at + 46 <= view.byteLength && view.getUint32(at, true) === 0x02014b50
    if (!there) throw new Error('its directory is damaged')
    const [name, extra, comment] = [28, 30, 32].map(o => view.getUint16(at + o, true))
    entries.push({ flags: view.getUint16(at + 8, true), method: view.getUint16(at + 10, true),
      packed: view.getUint32(at + 20, true), size: view.getUint32(at + 24, true), at: view.getUint32(at + 42, true),
      name: new TextDecoder().decode(new Uint8Array(view.buffer, at + 46, name)) })
    at += 46 + name + extra + comment
  }
  return entries
}

async function unpack(file, entry) {
  if (entry.flags & 1) throw new Error('it is locked by a password')
  if (entry.size > MOST_BYTES) throw new Error(`it holds ${entry.size.toLocaleString()} bytes, too many`)
  if (![0, 8].includes(entry.method)) throw new Error(`it is packed by method ${entry.method}; only "deflate" is read`)
  const head = await bytes(file, entry.at, entry.at + 30)
  const from = entry.at + 30 + head.getUint16(26, true) + head.getUint16(28, true)
  const packed = file.slice(from, from + entry.packed)
  return entry.method ? new Blob([await inflate(packed, 'deflate-raw', entry.size)]) : packed
}

async function* fromZip(file) {   // { name, open }: `open` gives the bytes of a picture, as a Blob
  const entries = (await zipEntries(file)).filter(o => PICTURE.test(o.name) && !hidden(o.name))
  if (!entries.length) throw new Error('it holds no file with a picture\'s ending (.png, .jpg, ...)')
  for (const o of entries) yield { name: `${file.name}/${o.name}`, open: () => unpack(file, o) }
}

async function* below(entry, path = '') {   // of a dropped folder
  if (entry.isFile) {
    const file = await new Promise((yes, no) => entry.file(yes, no))
    yield { name: path + file.name, file }
    return
  }
  const reader = entry.createReader()
  for (;;) {   // a browser hands out a hundred at a time
    const some = await new Promise((yes, no) => reader.readEntries(yes, no))
    if (!some.length) return
    for (const o of some) yield* below(o, `${path}${entry.name}/`)
  }
}

async function* expanded(name, file, among) {   // among others in a folder, what is no picture is left out
  if (/\.zip$/i.test(name)) {
    try { yield* fromZip(file) } catch (e) { yield { name, open: () => Promise.reject(e) } }
  } else if (!among || (PICTURE.test(name) && !hidden(name))) yield { name, open: async () => file }
}

export async function* fromDrop(transfer) {
  const entries = [...transfer.items].map(o => o.webkitGetAsEntry?.()), files = [...transfer.files]
  if (!entries.some(o => o?.isDirectory)) return yield* fromFiles(files)
  for (const o of entries.filter(Boolean))
    for await (const { name, file } of below(o)) yield* expanded(name, file, o.isDirectory)
}

export async function* fromFiles(files) {
  for (const o of files) yield* expanded(o.webkitRelativePath || o.name, o, Boolean(o.webkitRelativePath))
}

export async function* fromUrls(names) {   // pictures that lie beside this page
  const get = async name => (await fetch(new URL(`../${name}`, import.meta.url))).blob()
  for (const name of names) yield { name, open: () => get(name) }
}
