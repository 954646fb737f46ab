/** What a FrameReader tells, as lines; pieces of one DATA frame are put together again. */
import { Http2ConnectionError } from '../../../../protocols/http/codec/h2-frames.ts'
import { FrameReader, type FrameSink } from '../../../../protocols/http/codec/h2-frame-reader.ts'

export class FrameLog implements FrameSink {
  readonly lines: string[] = []
  #open: { streamId: number; hex: string } | undefined
  onData(streamId: number, chunk: Buffer, end: boolean, paddingBytes: number): void {
    if (this.#open?.streamId === streamId) this.lines.pop()
    else this.#open = { streamId, hex: '' }
    this.#open.hex += chunk.toString('hex')
    this.lines.push(
      `data ${streamId} ${this.#open.hex}${paddingBytes > 0 ? ` +${paddingBytes}` : ''}${end ? ' END' : ''}`,
    )
  }
  #say(line: string): void {
    this.#open = undefined
    this.lines.push(line)
  }
  onHeaders(streamId: number, block: Buffer, end: boolean, dependsOn: number | undefined): void {
    this.#say(
      `headers ${streamId} ${block.toString('hex')}${end ? ' END' : ''}${dependsOn === undefined ? '' : ` after ${dependsOn}`}`,
    )
  }
  onPriority(streamId: number, dependsOn: number): void {
    this.#say(`priority ${streamId} after ${dependsOn}`)
  }
  onReset(streamId: number, code: number): void {
    this.#say(`reset ${streamId} ${code}`)
  }
  onSettings(settings: readonly (readonly [id: number, value: number])[]): void {
    this.#say(`settings ${settings.map(([id, value]) => `${id}=${value}`).join(' ')}`)
  }
  onSettingsAck(): void {
    this.#say('settings ack')
  }
  onPing(payload: Buffer, ack: boolean): void {
    this.#say(`ping ${payload.toString('hex')}${ack ? ' ack' : ''}`)
  }
  onGoaway(lastStreamId: number, code: number): void {
    this.#say(`goaway ${lastStreamId} ${code}`)
  }
  onWindowUpdate(streamId: number, bytes: number): void {
    this.#say(`window ${streamId} ${bytes}`)
  }
  onStreamError(streamId: number, code: number): void {
    this.#say(`stream error ${streamId} ${code}`)
  }
  onEmptyFrame(): void {
    this.#say('empty')
  }
  onEndlessBlock(): void {
    this.#say('endless')
  }
}

export type ReadOptions = { readonly expectPreface?: boolean; readonly maxBlockBytes?: number }

/** What is told of `bytes` that come in pieces that end at `cuts`; a broken connection is the last line. */
export function readInPieces(
  bytes: Buffer,
  cuts: readonly number[],
  { expectPreface = false, maxBlockBytes = 100_000 }: ReadOptions = {},
): string[] {
  const log = new FrameLog()
  const reader = new FrameReader(log, { expectPreface, maxBlockBytes })
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b)
  let from = 0
  try {
    for (const to of [...ends, bytes.length]) {
      // A chunk that is read is not kept: what the reader needs of it later it has copied.
      const chunk = Buffer.from(bytes.subarray(from, to))
      reader.read(chunk)
      chunk.fill(0xee)
      from = to
    }
  } catch (thrown) {
    if (!(thrown instanceof Http2ConnectionError)) throw thrown
    log.lines.push(`broken ${thrown.code}`)
  }
  return log.lines
}
