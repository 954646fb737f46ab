/** What the peer has said in SETTINGS (RFC 9113 §6.5.2), as far as it matters to us. */
import {
  DEFAULT_MAX_FRAME_BYTES,
  DEFAULT_WINDOW_BYTES,
  ErrorCode,
  Http2ConnectionError,
  LARGEST_MAX_FRAME_BYTES,
  MAX_WINDOW_BYTES,
  Setting,
} from '../codec/h2-frames.ts'

export class PeerSettings {
  readonly #isServer: boolean
  /** SETTINGS_MAX_CONCURRENT_STREAMS; undefined = it has not said. */
  maxStreams: number | undefined
  /** CONNECT with :protocol is permitted (RFC 8441 §3). */
  extendedConnect = false
  streamWindowBytes = DEFAULT_WINDOW_BYTES

  /** @param isServer the peer is a client */
  constructor(isServer: boolean) {
    this.#isServer = isServer
  }

  /**
   * One setting; those of the encoder are not for here.
   * @returns by how much the windows of open streams change (§6.9.2)
   */
  set(id: number, value: number): number {
    switch (id) {
      case Setting.ENABLE_PUSH:
        check(value === 0 || (value === 1 && this.#isServer), 'SETTINGS_ENABLE_PUSH')
        break
      case Setting.MAX_CONCURRENT_STREAMS:
        this.maxStreams = value
        break
      case Setting.INITIAL_WINDOW_SIZE:
        return this.#setWindow(value)
      // Larger frames than the default would keep other streams waiting: none are sent.
      case Setting.MAX_FRAME_SIZE:
        check(value >= DEFAULT_MAX_FRAME_BYTES && value <= LARGEST_MAX_FRAME_BYTES, 'SETTINGS_MAX_FRAME_SIZE')
        break
      case Setting.ENABLE_CONNECT_PROTOCOL:
        // RFC 8441 §3: what was permitted is not taken back.
        check(value === 1 || (value === 0 && !this.extendedConnect), 'SETTINGS_ENABLE_CONNECT_PROTOCOL')
        this.extendedConnect = value === 1
        break
      default: // RFC 9113 §6.5.2: unknown ones are ignored.
    }
    return 0
  }
  #setWindow(bytes: number): number {
    if (bytes > MAX_WINDOW_BYTES)
      throw new Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'SETTINGS_INITIAL_WINDOW_SIZE')
    const by = bytes - this.streamWindowBytes
    this.streamWindowBytes = bytes
    return by
  }
}

function check(isPermitted: boolean, setting: string): void {
  if (!isPermitted) throw new Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, setting)
}
