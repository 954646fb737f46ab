/**
 * Carries what operators ask to the devices that are connected here: whoever asks writes it to the registry, and of
 * several hubs the one that has the device takes it.
 */
import { detach, doNothing, guard } from '../../core/defects/guard.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Clock, Timer } from '../../core/os/clock.ts'
import { packMessage, unpackMessage } from '../../core/relay/compression.ts'
import type { RelayStream } from '../../core/relay/stream.ts'
import { COMMAND_LIMITS, parseCommandAnswer } from '../../model/fleet/command.ts'
import type { DeviceCommand } from './device-commands.ts'
import type { OpenRegistry } from '../registry/registry.ts'

/** Opens a stream to a device; undefined: it is not connected here. */
export type OpenStream = (device: string, kind: 'command' | 'tunnel', head?: Uint8Array) => RelayStream | undefined

export type CommandDeskOptions = {
  readonly registry: OpenRegistry
  readonly open: OpenStream
  readonly clock: Clock
  readonly log: Log
}

const LOOK_MS = 250
/** The device has 20 s. */
const ANSWER_MS = 25_000
const PRUNE_MS = 60_000
/** Of one hub, at once. */
const MAX_RUNNING = 100

export class CommandDesk implements Disposable {
  readonly #o: CommandDeskOptions
  #seen: string | undefined
  #prunedMs = Number.NEGATIVE_INFINITY
  #running = 0
  #isLooking = false
  #next: Timer

  constructor(options: CommandDeskOptions) {
    this.#o = options
    this.#next = this.#lookLater()
  }

  [Symbol.dispose](): void {
    this.#next.cancel()
  }

  #lookLater(): Timer {
    return this.#o.clock.after(
      LOOK_MS,
      guard('hub', doNothing, () => {
        this.#next = this.#lookLater()
        if (!this.#isLooking) detach('hub', this.#look())
      }),
    )
  }

  async #look(): Promise<void> {
    const { registry, clock, log } = this.#o
    this.#isLooking = true
    try {
      await this.#prune()
      const { revision } = registry
      if (revision === this.#seen) return
      for (const command of await registry.deviceCommands.asked(clock.wallMs())) {
        if (this.#running >= MAX_RUNNING) return
        await this.#take(command)
      }
      this.#seen = revision
    } catch (err) {
      log.warn({ evt: 'hub.registry', err }, 'what operators ask of devices cannot be read')
    } finally {
      this.#isLooking = false
    }
  }

  async #prune(): Promise<void> {
    const { registry, clock } = this.#o
    if (clock.monotonicMs() - this.#prunedMs < PRUNE_MS) return
    this.#prunedMs = clock.monotonicMs()
    await registry.deviceCommands.prune(clock.wallMs())
  }

  async #take(command: DeviceCommand): Promise<void> {
    const { registry, open } = this.#o
    const stream = open(command.device, 'command')
    if (!stream) return
    if (!(await registry.deviceCommands.take(command.id))) {
      stream.reset(new MeshError('MESH_DRAINING', 'another hub has asked already'))
      return
    }
    this.#running++
    detach(
      'hub',
      this.#run(command, stream).finally(() => this.#running--),
    )
  }

  async #run({ id, device, request }: DeviceCommand, stream: RelayStream): Promise<void> {
    const { clock, log } = this.#o
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    const late = clock.after(ANSWER_MS, () =>
      reject(new MeshError('MESH_CONTROL_TIMEOUT', `${device} does not answer`)),
    )
    try {
      stream.listen({ onMessage: resolve, onReset: reject })
      stream.send(packMessage(Buffer.from(request), { withDictionary: false }))
      stream.end()
      const text = Buffer.from(unpackMessage(await promise, COMMAND_LIMITS.unpackedBytes)).toString('utf8')
      if (!parseCommandAnswer(text))
        throw new MeshError('MESH_CONTROL_PROTOCOL', `${device} answered what is no answer`)
      await this.#finish(id, 'done', text)
    } catch (thrown) {
      const reason = toMeshError(thrown)
      stream.reset(reason)
      log.warn({ evt: 'hub.command', device, err: reason }, 'a device did not carry out a command')
      await this.#finish(id, 'failed', `${reason.code}\n${reason.message}`)
    } finally {
      late.cancel()
    }
  }

  async #finish(id: string, state: 'done' | 'failed', answer: string): Promise<void> {
    try {
      await this.#o.registry.deviceCommands.finish(id, state, answer)
    } catch (err) {
      this.#o.log.warn({ evt: 'hub.registry', err }, 'the answer of a device is not written')
    }
  }
}
