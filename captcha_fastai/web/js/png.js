// PNG, decoded here: a canvas would manage colours, and lose what stands under a transparent pixel
import { inflate } from './files.js'

const SAMPLES = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }   // of a pixel, by colour type: grey, colour, palette, both with alpha
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]]

export const isPng = bytes => [137, 80, 78, 71, 13, 10, 26, 10].every((o, i) => bytes[i] === o)

export function pngChunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), chunks = { IDAT: [] }
  for (let at = 8; at + 12 <= bytes.length;) {
    const end = at + 8 + view.getUint32(at), name = String.fromCharCode(...bytes.subarray(at + 4, at + 8))
    if (name === 'IDAT') chunks.IDAT.push(bytes.subarray(at + 8, end))
    else chunks[name] ??= bytes.subarray(at + 8, end)
    at = end + 4
  }
  return chunks
}

export function pngSize(chunks) {
  if (chunks.IHDR?.length !== 13) throw new Error('its first part is damaged')
  const view = new DataView(chunks.IHDR.buffer, chunks.IHDR.byteOffset)
  return [view.getUint32(0), view.getUint32(4)]
}

function paeth(a, b, c) {
  const p = a + b - c, da = Math.abs(p - a), db = Math.abs(p - b), dc = Math.abs(p - c)
  return da <= db && da <= dc ? a : db <= dc ? b : c
}

function unfilter(kind, row, above, step) {   // bytes were written as differences to those on the left and above
  if (kind === 0) return
  for (let i = 0; i < row.length; i++) {
    const left = i < step ? 0 : row[i - step], up = above[i]
    if (kind === 1) row[i] += left
    else if (kind === 2) row[i] += up
    else if (kind === 3) row[i] += (left + up) >> 1
    else row[i] += paeth(left, up, i < step ? 0 : above[i - step])
  }
}

function sampler(row, depth) {   // the i-th sample of a row
  if (depth === 8) return i => row[i]
  if (depth === 16) return i => row[2 * i] << 8 | row[2 * i + 1]
  return i => row[i * depth >> 3] >> (8 - depth - (i * depth & 7)) & (1 << depth) - 1
}

function painter(chunks, type, depth) {   // (out, o, s, i): out[o], ... of the samples s(i), ...
  const { PLTE, tRNS } = chunks, down = depth === 16 ? 8 : 0
  const clear = tRNS && [0, 2, 4].map(i => tRNS[i] << 8 | tRNS[i + 1])
  const grey = depth === 16 ? o => Math.round(o / 257) : o => o * 255 / ((1 << depth) - 1)
  const put = (out, o, r, g, b, a) => { out[o] = r; out[o + 1] = g; out[o + 2] = b; out[o + 3] = a }
  const isClear = (s, i) => clear && s(i) === clear[0] && s(i + 1) === clear[1] && s(i + 2) === clear[2]
  return {
    0: (out, o, s, i) => put(out, o, grey(s(i)), grey(s(i)), grey(s(i)), clear && s(i) === clear[0] ? 0 : 255),
    2: (out, o, s, i) => put(out, o, s(i) >> down, s(i + 1) >> down, s(i + 2) >> down, isClear(s, i) ? 0 : 255),
    3: (out, o, s, i) => put(out, o, ...PLTE.subarray(3 * s(i), 3 * s(i) + 3), tRNS?.[s(i)] ?? 255),
    4: (out, o, s, i) => put(out, o, s(i) >> down, s(i) >> down, s(i) >> down, s(i + 1) >> down),
    6: (out, o, s, i) => put(out, o, s(i) >> down, s(i + 1) >> down, s(i + 2) >> down, s(i + 3) >> down) }[type]
}

export async function decodePng(chunks) {   // { w, h, rgba }
  const [w, h] = pngSize(chunks), [depth, type, , , interlaced] = chunks.IHDR.subarray(8), n = SAMPLES[type]
  const passes = (interlaced ? ADAM7 : [[0, 0, 1, 1]]).map(([x, y, dx, dy]) =>
    ({ x, y, dx, dy, cols: Math.ceil((w - x) / dx), rows: Math.ceil((h - y) / dy) })).filter(o => o.cols && o.rows)
  const bytesOf = o => Math.ceil(o.cols * n * depth / 8)
  const total = passes.reduce((sum, o) => sum + o.rows * (1 + bytesOf(o)), 0)
  const broken = () => { throw new Error('the file is cut short or damaged') }
  const data = await inflate(new Blob(chunks.IDAT), 'deflate', total).catch(broken), rgba = new Uint8ClampedArray(4 * w * h)
  if (data.length < total) broken()
  const paint = painter(chunks, type, depth)
  let at = 0
  for (const pass of passes) {
    const length = bytesOf(pass)
    let above = new Uint8Array(length)
    for (let y = 0; y < pass.rows; y++, at += 1 + length) {
      const row = data.subarray(at + 1, at + 1 + length), sample = sampler(row, depth)
      unfilter(data[at], row, above, Math.max(1, n * depth >> 3))
      above = row
      const from = (pass.y + y * pass.dy) * w + pass.x
      for (let x = 0; x < pass.cols; x++) paint(rgba, 4 * (from + x * pass.dx), sample, x * n)
    }
  }
  return { w, h, rgba }
}
