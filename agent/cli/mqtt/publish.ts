/** `meshlet mqtt pub`: mosquitto_pub's options and behaviour. */
import type { MqttClient } from 'mqtt'
import { systemClock } from '../../../core/os/clock.ts'
import { detach } from '../../../core/defects/guard.ts'
import type { Io } from '../io.ts'
import { createRequestError, rejectUsage, readFile, parseTarget, withBroker } from './connection.ts'
import { splitLines } from './lines.ts'
import type { ConnectOptions, MessageOptions } from './options.ts'
import type { PropertyValues } from './properties.ts'

export type PublishOptions = ConnectOptions &
  MessageOptions & {
    readonly topic?: string
    readonly stdinLine?: boolean
    readonly retain?: boolean
    readonly maxInflight: number
    readonly repeat: number
    readonly repeatDelay: number
  }

/** @returns exit code: 1 also when the broker refused a message */
export async function publish(o: PublishOptions, io: Io): Promise<number> {
  const target = parseTarget(o)
  const topic = o.topic ?? target.topic ?? rejectUsage('a topic is needed: -t')
  if (topic === '' || /[+#\0]/.test(topic))
    rejectUsage(`"${topic}" is no topic to publish to: it has a wildcard, or nothing`)
  const messages = messagesOf(o, io)
  return withBroker(o, io, target, ({ client, properties, finish, tell }) => {
    const send = async (): Promise<void> => {
      const publisher = new Publisher(client, { ...o, topic, properties: properties.publish })
      for await (const message of messages) await publisher.publish(message)
      const refused = await publisher.finished()
      if (refused !== undefined) tell(createRequestError('the broker refused a message', refused))
      finish(refused === undefined ? 0 : 1)
    }
    client.once('connect', () => detach('mqtt', send(), () => finish(1)))
  })
}

/** A message before which `delayMs` is waited comes after the one before it was delivered. */
type Outgoing = { readonly payload: Buffer; readonly delayMs: number }

/** Exactly one of -m, -f, -n, -s and -l. */
function messagesOf(o: PublishOptions, io: Io): AsyncIterable<Outgoing> {
  if (o.stdinLine) {
    if (hasMessage(o)) return rejectUsage('only one of -m, -f, -n, -s and -l may be given')
    return lines(io)
  }
  return repeated(o, readMessage(o, io))
}
async function* lines(io: Io): AsyncGenerator<Outgoing> {
  for await (const payload of splitLines(io.standardInputParts?.() ?? [await io.standardInput()]))
    yield { payload, delayMs: 0 }
}
async function* repeated({ repeat, repeatDelay }: PublishOptions, message: Promise<Buffer>): AsyncGenerator<Outgoing> {
  const payload = await message
  for (let i = 0; i < repeat; i++) yield { payload, delayMs: i === 0 ? 0 : repeatDelay * 1000 }
}

const hasMessage = (o: MessageOptions): boolean =>
  [o.message, o.file, o.nullMessage, o.stdinFile].some((one) => one !== undefined)

/** @throws MESH_CONFIG_INVALID at once */
export function readMessage(o: MessageOptions, io: Io): Promise<Buffer> {
  const { message, file, nullMessage, stdinFile } = o
  if ([message, file, nullMessage, stdinFile].filter((one) => one !== undefined).length !== 1)
    return rejectUsage('one of -m, -f, -n, -s and -l is needed, and only one')
  if (stdinFile) return io.standardInput()
  return Promise.resolve(file === undefined ? Buffer.from(message ?? '') : readFile(file))
}

type Publishing = Pick<PublishOptions, 'qos' | 'retain' | 'maxInflight'> & {
  readonly topic: string
  readonly properties: PropertyValues
}

/** Keeps at most so many messages on their way. */
class Publisher {
  readonly #client: MqttClient
  readonly #o: Publishing
  readonly #onTheWay = new Set<Promise<void>>()
  #refused: unknown

  constructor(client: MqttClient, options: Publishing) {
    this.#client = client
    this.#o = options
  }

  async publish({ payload, delayMs }: Outgoing): Promise<void> {
    if (delayMs > 0) {
      await this.finished()
      await systemClock.sleep(delayMs)
    }
    while (this.#onTheWay.size >= this.#o.maxInflight) await Promise.race(this.#onTheWay)
    const sent: Promise<void> = this.#send(payload).finally(() => this.#onTheWay.delete(sent))
    this.#onTheWay.add(sent)
  }
  /** @returns what the broker answered to the last that it refused */
  async finished(): Promise<unknown> {
    await Promise.all(this.#onTheWay)
    return this.#refused
  }
  async #send(payload: Buffer): Promise<void> {
    const { topic, qos, retain = false, properties } = this.#o
    try {
      await this.#client.publishAsync(topic, payload, { qos, retain, properties })
    } catch (thrown) {
      this.#refused = thrown
    }
  }
}
