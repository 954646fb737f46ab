import { test } from 'node:test'
import assert from 'node:assert/strict'
import zlib from 'node:zlib'
import type { CompressionLibrary } from '../../../../../model/http/bodies.ts'
import { Engine } from '../../../../../protocols/http/filters/bodies/engine.ts'
import type { Hold } from '../../../../../protocols/waiting.ts'
import { GZIP } from './compressors.ts'

const LIBRARIES: readonly [CompressionLibrary, (bytes: Buffer) => Buffer][] = [
  [GZIP, (bytes) => zlib.gunzipSync(bytes)],
  [{ encoding: 'gzip', level: 9, windowBits: 9, memoryLevel: 1, strategy: 2 }, (bytes) => zlib.gunzipSync(bytes)],
  [
    { encoding: 'br', quality: 11, mode: 'text', windowBits: 10, blockBits: 16, modelsLiterals: false },
    (bytes) => zlib.brotliDecompressSync(bytes),
  ],
  [{ encoding: 'zstd', level: 22, hasChecksum: true, strategy: 9 }, (bytes) => zlib.zstdDecompressSync(bytes)],
]

type Told = { readonly bytes: Buffer; readonly held: readonly number[] }
function run(library: CompressionLibrary, use: (engine: Engine) => void): Promise<Told> {
  const chunks: Buffer[] = []
  const held: number[] = []
  const hold = { set: (bytes: number) => held.push(bytes) } as unknown as Hold
  return new Promise((resolve, reject) => {
    const engine = new Engine(
      library,
      {
        onOutput: (chunk) => chunks.push(chunk),
        onOutputEnd: () => resolve({ bytes: Buffer.concat(chunks), held }),
        onTaken: () => {},
        onBroken: reject,
      },
      hold,
    )
    use(engine)
  })
}

for (const [library, expand] of LIBRARIES)
  test(`what comes out of ${library.encoding} is what went in, and its memory is given back`, async () => {
    const text = Buffer.from('some text, '.repeat(20_000))
    const { bytes, held } = await run(library, (engine) => {
      engine.write(text.subarray(0, 7))
      engine.flush()
      engine.flush()
      engine.write(text.subarray(7))
      engine.finish()
    })
    assert.ok(expand(bytes).equals(text))
    assert.ok(Math.max(...held) > text.length)
    assert.equal(held.at(-1), 0)
  })

test('what was written is there after a flush, although no end has come', async () => {
  let out = Buffer.alloc(0)
  const hold = { set: () => {} } as unknown as Hold
  await new Promise<void>((resolve, reject) => {
    const engine = new Engine(
      GZIP,
      {
        onOutput: (chunk) => {
          out = Buffer.concat([out, chunk])
          const text = zlib.gunzipSync(out, { finishFlush: zlib.constants.Z_SYNC_FLUSH }).toString()
          if (text !== 'event') return
          engine.end()
          resolve()
        },
        onOutputEnd: () => {},
        onTaken: () => {},
        onBroken: reject,
      },
      hold,
    )
    engine.write(Buffer.from('event'))
    engine.flush()
  })
})

test('nothing is told of an engine that was ended', async () => {
  const told: string[] = []
  const hold = { set: () => {} } as unknown as Hold
  const engine = new Engine(
    GZIP,
    {
      onOutput: () => told.push('output'),
      onOutputEnd: () => told.push('end'),
      onTaken: () => told.push('taken'),
      onBroken: () => told.push('broken'),
    },
    hold,
  )
  engine.write(Buffer.alloc(1 << 20))
  engine.finish()
  engine.end()
  assert.equal(engine.write(Buffer.from('x')), true)
  engine.flush()
  engine.resume()
  // Whatever the thread pool had begun is over when a later one is.
  await run(GZIP, (other) => other.finish())
  assert.deepEqual(told, [])
})
