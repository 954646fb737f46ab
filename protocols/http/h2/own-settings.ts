/** What this side says first: its SETTINGS (RFC 9113 §3.4, §6.5.2), and a larger window for the connection. */
import { DEFAULT_WINDOW_BYTES, PREFACE, Setting } from '../codec/h2-frames.ts'
import type { SessionOptions } from './events.ts'
import type { FrameOutput } from './frame-output.ts'

export function sendOwnSettings(output: FrameOutput, o: SessionOptions): void {
  const isServer = o.role === 'server'
  if (!isServer) output.bytes(PREFACE)
  const settings: [number, number][] = [
    [Setting.INITIAL_WINDOW_SIZE, o.streamWindowBytes],
    [Setting.MAX_HEADER_LIST_SIZE, o.maxHeaderListBytes],
    isServer ? [Setting.MAX_CONCURRENT_STREAMS, o.maxConcurrentStreams] : [Setting.ENABLE_PUSH, 0],
  ]
  if (isServer && o.extendedConnect) settings.push([Setting.ENABLE_CONNECT_PROTOCOL, 1])
  output.settings(settings)
  if (o.connectionWindowBytes > DEFAULT_WINDOW_BYTES)
    output.windowUpdate(0, o.connectionWindowBytes - DEFAULT_WINDOW_BYTES)
}
