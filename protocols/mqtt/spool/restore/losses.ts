/**
 * Reports what was lost to damage: in the log when it is found, as counters, and summed up for the status. Each message
 * counts once, by the sequence numbers that its queue lacks, so delivered and lost messages add up.
 */
import type { Log } from '../../../../core/log.ts'
import type { Metrics } from '../../../../core/metrics.ts'
import type { Damaged } from '../../../../core/os/files/damaged-files.ts'

export type DamagedPart = 'segment' | 'queue' | 'session' | 'subscription' | 'retained' | 'inbound' | 'page' | 'log'

/** Named in the status; the log has all. */
const MAX_PLACES = 5

export class Losses {
  readonly #log: Log
  readonly #metrics: Metrics
  readonly #parts: (what: DamagedPart) => { value: number }
  readonly #messages: { value: number }
  readonly #sentences: string[] = []
  readonly #places: string[] = []
  #placesLeft = 0
  #lostMessages = 0
  readonly #rows = new Map<DamagedPart, number>()

  constructor({ log, metrics }: { readonly log: Log; readonly metrics: Metrics }) {
    this.#log = log
    this.#metrics = metrics
    const parts = metrics.counter(
      'mesh_mqtt_spool_damaged_total',
      'Parts of the spool that could not be read back and were given up.',
      ['what'],
    )
    this.#parts = (what) => parts.cell({ what })
    this.#messages = metrics
      .counter('mesh_mqtt_spool_lost_messages_total', 'Messages in queues that damage of the spool has taken.', [])
      .cell({})
  }

  /** For the status; undefined: nothing is lost. */
  get text(): string | undefined {
    const parts = [...this.#sentences]
    for (const [what, count] of this.#rows) parts.push(`${count} damaged rows (${what})`)
    const more = this.#placesLeft > 0 ? `, and ${this.#placesLeft} more` : ''
    if (this.#places.length > 0)
      parts.push(`${this.#lostMessages} messages are lost: ${this.#places.join(', ')}${more}`)
    return parts.length > 0 ? parts.join('; ') : undefined
  }
  get lostMessages(): number {
    return this.#lostMessages
  }

  /** Those that are kept beside the spool, as it was opened. */
  countDamagedFiles({ files, bytes, removed }: Damaged): void {
    this.#metrics.gaugeOf(
      'mesh_mqtt_spool_damaged_files',
      'Damaged files that are kept beside the spool (mqtt.spool.maxDamagedFiles, maxDamagedBytes).',
      () => files,
    )
    this.#metrics.gaugeOf('mesh_mqtt_spool_damaged_files_bytes', 'Their bytes.', () => bytes)
    this.#metrics
      .counter(
        'mesh_mqtt_spool_damaged_files_removed_total',
        'Damaged files that were removed at the start because there were more than may be kept.',
        [],
      )
      .cell({}).value += removed
    if (removed > 0)
      this.#log.warn(
        { evt: 'spool.damaged.removed', files: removed },
        'damaged files of the spool were removed because there are more than mqtt.spool.maxDamagedFiles and maxDamagedBytes allow',
      )
  }

  /** Of the file as a whole, which whoever calls has logged. */
  tell(sentence: string, what: DamagedPart, parts: number): void {
    this.#sentences.push(sentence)
    this.#parts(what).value += parts
  }
  /** A row that cannot be understood, or is not what was written. */
  reportRow(what: DamagedPart, name: string): void {
    this.#parts(what).value++
    this.#rows.set(what, (this.#rows.get(what) ?? 0) + 1)
    this.#log.error(
      { evt: 'spool.row', code: 'MESH_STORAGE_DAMAGED', what, name },
      'a row of the spool is damaged and is given up',
    )
  }
  /** @param why a sentence for the log */
  reportMessages(queue: string, count: number, [firstSeq, lastSeq]: readonly [number, number], why: string): void {
    this.#parts('segment').value++
    this.#messages.value += count
    this.#lostMessages += count
    if (this.#places.length < MAX_PLACES) this.#places.push(`${count} of ${queue} (numbers ${firstSeq} to ${lastSeq})`)
    else this.#placesLeft++
    this.#log.error(
      { evt: 'spool.segment', code: 'MESH_STORAGE_DAMAGED', queue, firstSeq, lastSeq, messages: count },
      why,
    )
  }
}
