/**
 * The log as messages, mosquitto's `log_dest topic`: each line on `$SYS/broker/log/` and its severity, `E`, `W`, `N` or
 * `I`, as it stands in the log, and never one of level debug. Not retained, and of no cost while nobody listens.
 */
import type { BrokerState } from '../state.ts'
import { NO_BYTES } from '../codec/packet.ts'
import { publishSys } from './publish-sys.ts'

const ROOT = '$SYS/broker/log/'
const [ERROR, WARN, INFO] = [50, 40, 30]
/** mosquitto's notices: who comes and who goes. */
const NOTICE = /^\{[^{}]*"evt":"mqtt\.(connected|disconnected|refused)"/
/** Of a line; what is longer is cut. */
const MAX_BYTES = 8 * 1024

export type LogLines = {
  /** Asked for each line. */
  readonly isPublished: () => boolean
  /** @param take gets each line as it was written, and pino's number of its level */
  listen(take: (line: string, level: number) => void): Disposable
}

export class LogTopics implements Disposable {
  readonly #state: BrokerState
  readonly #lines: LogLines
  readonly #listening: Disposable
  /** What is said while a line is published is not: it would be about that, and have no end. */
  #isPublishing = false

  constructor(state: BrokerState, lines: LogLines) {
    this.#state = state
    this.#lines = lines
    this.#listening = lines.listen((line, level) => this.#take(line, level))
  }
  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]()
  }

  #take(line: string, level: number): void {
    const { subscriptions } = this.#state
    if (level < INFO || this.#isPublishing || !subscriptions.hasSysFilters || !this.#lines.isPublished()) return
    const severity = level >= ERROR ? 'E' : level >= WARN ? 'W' : NOTICE.test(line) ? 'N' : 'I'
    const payload = Buffer.from(line.trimEnd()).subarray(0, MAX_BYTES)
    this.#isPublishing = true
    try {
      publishSys(this.#state, {
        topic: ROOT + severity,
        payload,
        qos: 2,
        retain: false,
        properties: NO_BYTES,
        expiresAtMs: undefined,
      })
    } finally {
      this.#isPublishing = false
    }
  }
}
