// The exported model, run by onnxruntime-web in this browser; the loading of its files
import * as ort from '../runtime/ort.wasm.min.mjs'
import { weighed } from './expected.js'
import { inflate } from './files.js'

async function fetched(url, progress) {
  const answer = await fetch(new URL(url, import.meta.url))
  if (!answer.ok) throw new Error(`${url.split('/').pop()} is not beside this page (the host says ${answer.status})`)
  const reader = answer.body.getReader(), parts = []
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return new Uint8Array(await new Blob(parts).arrayBuffer())
    parts.push(value)
    progress(value.length)
  }
}

async function runtime(progress) {
  const bytes = await fetched('../runtime/ort-wasm-simd-threaded.wasm.gz', progress)
  const packed = bytes[0] === 0x1f && bytes[1] === 0x8b   // unless the host has unpacked it on the way
  return packed ? inflate(new Blob([bytes]), 'gzip', Infinity) : bytes
}

export async function loadReader(progress) {   // what stands in reader.json, with `nets`; progress is told of bytes
  const info = JSON.parse(new TextDecoder().decode(await fetched('../reader.json', progress)))
  const [wasm, ...graphs] = await Promise.all([runtime(progress),
    ...Object.keys(info.sha256).map(o => fetched(`../${o}`, progress))])
  Object.assign(ort.env.wasm, { wasmBinary: wasm.buffer, numThreads: 1 })
  ort.env.logLevel = 'error'
  const nets = []
  for (const o of graphs) nets.push(await ort.InferenceSession.create(o))
  return { ...info, chars: Array.from(info.chars), nets }
}

async function run(net, inputs) {   // { data, dims } of its one output
  const [out] = Object.values(await net.run(inputs))
  return out
}

const rowsOf = (data, V) => Array.from({ length: data.length / V }, (_, i) => data.subarray(i * V, (i + 1) * V))

export async function answer(reader, pictures) {   // of [{ x, w, h }] of one size, what the model says of each
  const { mean, std, channels } = reader, [{ w, h }] = pictures, area = w * h, size = channels * area
  const input = new Float32Array(pictures.length * size), f = Math.fround
  pictures.forEach(({ x }, n) => {
    for (let i = 0; i < size; i++) {
      const c = Math.floor(i / area)
      input[n * size + i] = f(f(x[i] / 255) - f(mean[c])) / f(std[c])
    }
  })
  const dims = [pictures.length, channels, h, w]
  const out = await run(reader.nets[0], { pictures: new ort.Tensor('float32', input, dims) })
  const each = out.data.length / pictures.length
  const parts = pictures.map((_, i) => out.data.subarray(i * each, (i + 1) * each))
  if (reader.nets[1]) return parts.map(data => ({ data, dims: out.dims.slice(1) }))
  const rows = parts.map(o => rowsOf(o, out.dims[2]))
  return reader.nats ? rows.map(o => o.map(row => weighed(row, reader.nats))) : rows
}

export async function whatFollows(reader, texts, memory) {   // of ids, all of one length: rows of V for each step
  const steps = texts[0].length, all = new Float32Array(texts.length * memory.data.length)
  texts.forEach((_, i) => all.set(memory.data, i * memory.data.length))
  const out = await run(reader.nets[1], {
    tokens: new ort.Tensor('int64', BigInt64Array.from(texts.flat(), BigInt), [texts.length, steps]),
    memory: new ort.Tensor('float32', all, [texts.length, ...memory.dims]) })
  const rows = rowsOf(out.data, out.dims[2])
  return texts.map((_, i) => rows.slice(i * steps, (i + 1) * steps))
}
