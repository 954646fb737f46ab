/**
 * Events of devices, into the registry and the hub's log: one line for each with device and reason, and one for many
 * that are alike.
 */
import type { Clock, Timer } from '../../core/os/clock.ts'
import { detach, doNothing, guard } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import type { DeviceEvent } from '../registry/device-events.ts'
import type { Registry } from '../registry/registry.ts'
import { joinEvents } from './join-events.ts'

const WRITE_MS = 1_000
/** More than this in a second, of all devices, are counted and not kept. */
const MAX_PENDING = 20_000

export class EventLog implements AsyncDisposable {
  readonly #o: { readonly registry: Registry; readonly clock: Clock; readonly log: Log }
  #pending: DeviceEvent[] = []
  #lost = 0
  #writing: Promise<void> = Promise.resolve()
  #write: Timer | undefined
  #isOver = false

  constructor(o: { readonly registry: Registry; readonly clock: Clock; readonly log: Log }) {
    this.#o = o
  }

  add(event: DeviceEvent): void {
    if (this.#pending.length >= MAX_PENDING) {
      this.#lost++
      return
    }
    this.#pending.push(event)
    if (this.#isOver) return
    this.#write ??= this.#o.clock.after(
      WRITE_MS,
      guard('hub', doNothing, () => {
        this.#write = undefined
        detach('hub', this.#flush())
      }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    this.#write?.cancel()
    await this.#flush()
  }

  #flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#writeAll())
    return this.#writing
  }
  async #writeAll(): Promise<void> {
    const { registry, log } = this.#o
    const [events, lost] = [this.#pending, this.#lost]
    this.#pending = []
    this.#lost = 0
    if (events.length === 0) return
    for (const { event, reason, devices, deviceCount, count } of joinEvents(events))
      log.info(
        {
          evt: 'hub.device',
          event,
          reason,
          device: devices.join(' '),
          ...(count > 1 && { devices: deviceCount, count }),
        },
        'something has happened to a device',
      )
    if (lost > 0) log.warn({ evt: 'hub.device-events-lost', count: lost }, 'too many events of devices at once')
    try {
      await registry.deviceEvents.add(events)
    } catch (err) {
      log.warn({ evt: 'hub.registry', err, events: events.length }, 'events of devices are not written')
    }
  }
}
