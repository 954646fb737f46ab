/**
 * One body on its way through zlib, off the main thread. What it needs by itself and what waits in it count against the
 * memory budget.
 */
import zlib from 'node:zlib'
import { guard } from '../../../../core/defects/guard.ts'
import { toMeshError, type MeshError } from '../../../../core/errors.ts'
import type { CompressionLibrary } from '../../../../model/http/bodies.ts'
import type { Hold } from '../../../waiting.ts'

export interface EngineSink {
  onOutput(chunk: Buffer): void
  onOutputEnd(): void
  /** It takes more. */
  onTaken(): void
  onBroken(error: MeshError): void
}

/** Bits of zstd's window: its own default for a level would take megabytes for each body. */
const ZSTD_WINDOW_BITS = 18
const KIB = 1024

export class Engine {
  readonly #zip: zlib.Gzip | zlib.BrotliCompress | zlib.ZstdCompress
  readonly #library: CompressionLibrary
  readonly #hold: Hold
  /** Nothing was written since the last flush. */
  #isFlushed = true
  #isOver = false

  constructor(library: CompressionLibrary, sink: EngineSink, hold: Hold) {
    this.#library = library
    this.#hold = hold
    this.#zip = create(library)
    const broken = (error: MeshError): void => {
      this.end()
      sink.onBroken(error)
    }
    const zip = this.#zip
    zip.on(
      'data',
      guard('exchange', broken, (chunk: Buffer) => {
        if (this.#isOver) return
        this.#recount()
        sink.onOutput(chunk)
      }),
    )
    zip.on(
      'end',
      guard('exchange', broken, () => {
        if (this.#isOver) return
        this.end()
        sink.onOutputEnd()
      }),
    )
    zip.on(
      'drain',
      guard('exchange', broken, () => {
        if (this.#isOver) return
        this.#recount()
        sink.onTaken()
      }),
    )
    zip.on(
      'error',
      guard('exchange', broken, (err: Error) => {
        if (!this.#isOver) broken(toMeshError(err))
      }),
    )
  }

  /** @returns false: it has enough until onTaken */
  write(chunk: Buffer): boolean {
    if (this.#isOver || chunk.length === 0) return true
    this.#isFlushed = false
    const takesMore = this.#zip.write(chunk)
    this.#recount()
    return takesMore
  }
  get isFull(): boolean {
    return !this.#isOver && this.#zip.writableNeedDrain
  }
  /** What was written so far is not to wait for more. */
  flush(): void {
    if (this.#isFlushed || this.#isOver) return
    this.#isFlushed = true
    if ('params' in this.#zip && this.#library.encoding === 'gzip') this.#zip.flush(zlib.constants.Z_SYNC_FLUSH)
    else this.#zip.flush()
  }
  /** No more comes; onOutputEnd follows. */
  finish(): void {
    if (!this.#isOver) this.#zip.end()
  }
  pause(): void {
    this.#zip.pause()
  }
  resume(): void {
    if (!this.#isOver) this.#zip.resume()
  }
  /** Nothing more is told. */
  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#zip.destroy()
    this.#hold.set(0)
  }

  #recount(): void {
    if (!this.#isOver) this.#hold.set(costOf(this.#library) + this.#zip.writableLength + this.#zip.readableLength)
  }
}

function create(library: CompressionLibrary): zlib.Gzip | zlib.BrotliCompress | zlib.ZstdCompress {
  const { constants: c } = zlib
  switch (library.encoding) {
    case 'gzip': {
      const { level, strategy, windowBits, memoryLevel } = library
      return zlib.createGzip({ level, strategy, windowBits, memLevel: memoryLevel })
    }
    case 'br': {
      const modes = { generic: c.BROTLI_MODE_GENERIC, text: c.BROTLI_MODE_TEXT, font: c.BROTLI_MODE_FONT }
      return zlib.createBrotliCompress({
        params: {
          [c.BROTLI_PARAM_QUALITY]: library.quality,
          [c.BROTLI_PARAM_LGWIN]: library.windowBits,
          [c.BROTLI_PARAM_LGBLOCK]: library.blockBits,
          [c.BROTLI_PARAM_MODE]: modes[library.mode],
          [c.BROTLI_PARAM_DISABLE_LITERAL_CONTEXT_MODELING]: library.modelsLiterals ? 0 : 1,
        },
      })
    }
    case 'zstd':
      return zlib.createZstdCompress({
        params: {
          [c.ZSTD_c_compressionLevel]: library.level,
          [c.ZSTD_c_windowLog]: ZSTD_WINDOW_BITS,
          [c.ZSTD_c_checksumFlag]: library.hasChecksum ? 1 : 0,
          ...(library.strategy > 0 && { [c.ZSTD_c_strategy]: library.strategy }),
        },
      })
    default:
      return library satisfies never
  }
}

/** Bytes that the library takes for one body: its window, its tables and a piece of output. */
function costOf(library: CompressionLibrary): number {
  switch (library.encoding) {
    case 'gzip':
      // zconf.h
      return (1 << (library.windowBits + 2)) + (1 << (library.memoryLevel + 9)) + 16 * KIB
    case 'br':
      return (2 << library.windowBits) + (library.quality < 5 ? 256 : 1024) * KIB
    case 'zstd':
      return (1 << ZSTD_WINDOW_BITS) * (library.level < 10 ? 5 : 16)
    default:
      return library satisfies never
  }
}
