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

function unfilter(kind, row, above, step) {
  for (let i = 0; i < row.length; i++) {
    const left = i < step ? 0 : row[i - step], up = above[i], corner = i < step ? 0 : above[i - step]
    row[i] += [0, left, up, (left + up) >> 1, paeth(left, up, corner)][kind]
  }
}

function sampler(row, depth) {   // the i-th sample of a row
  if (depth === 8) return i => row[i]
  if (depth === 16) return i => row[2 * i] << 8 | row[2 * i + 1]
  return i => row[i * depth >> 3] >> (8 - depth - (i * depth & 7)) & (1 << depth) - 1
}

function painter(chunks, type, depth) {   // from the samples of a pixel to red, green, blue and alpha in 8 bits
  const { PLTE, tRNS } = chunks, clear = tRNS && [...tRNS].filter((_, i) => i % 2).map((o, i) => tRNS[2 * i] << 8 | o)
  const byte = depth === 16 ? o => o >> 8 : o => o
  const grey = depth === 16 ? o => Math.round(o / 257) : o => o * 255 / ((1 << depth) - 1)
  if (type === 0) return ([g]) => [grey(g), grey(g), grey(g), g === clear?.[0] ? 0 : 255]
  if (type === 2) return o => [...o.map(byte), clear && o.every((v, i) => v === clear[i]) ? 0 : 255]
  if (type === 3) return ([i]) => [PLTE[3 * i], PLTE[3 * i + 1], PLTE[3 * i + 2], tRNS?.[i] ?? 255]
  return type === 4 ? ([g, a]) => [byte(g), byte(g), byte(g), byte(a)] : o => o.map(byte)
}

export async function decodePng(chunks) {   // { w, h, rgba }
  const [w, h] = pngSize(chunks), [depth, type, , , interlaced] = chunks.IHDR.subarray(8), n = SAMPLES[type]
  const passes = (interlaced ? ADAM7 : [[0, 0, 1, 1]]).map(([x, y, dx, dy]) =>
    ({ x, y, dx, dy, cols: Math.ceil((w - x) / dx), rows: Math.ceil((h - y) / dy) })).filter(o => o.cols && o.rows)
  const bytesOf = o => Math.ceil(o.cols * n * depth / 8)
  const total = passes.reduce((sum, o) => sum + o.rows * (1 + bytesOf(o)), 0)
  const data = await inflate(new Blob(chunks.IDAT), 'deflate', total), rgba = new Uint8ClampedArray(4 * w * h)
  if (data.length < total) throw new Error('the file is cut short')
  const paint = painter(chunks, type, depth), pixel = Array(n)
  let at = 0
  for (const pass of passes) {
    const length = bytesOf(pass)
    let above = new Uint8Array(length)
    for (let y = 0; y < pass.rows; y++, at += 1 + length) {
      const row = data.subarray(at + 1, at + 1 + length), sample = sampler(row, depth)
      unfilter(data[at], row, above, Math.max(1, n * depth >> 3))
      above = row
      for (let x = 0; x < pass.cols; x++) {
        for (let k = 0; k < n; k++) pixel[k] = sample(x * n + k)
        rgba.set(paint(pixel), 4 * ((pass.y + y * pass.dy) * w + pass.x + x * pass.dx))
      }
    }
  }
  return { w, h, rgba }
}
