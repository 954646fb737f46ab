/** `meshlet mqtt rr`: a request and its response, as mosquitto_rr does it (MQTT 5.0 §4.10). */
import type { Io } from '../io.ts'
import { createRequestError, rejectUsage, parseTarget, withBroker } from './connection.ts'
import type { ConnectOptions, MessageOptions, OutputOptions } from './options.ts'
import { readMessage } from './publish.ts'
import { endAfter, createPrinter } from './subscribe.ts'

export type RequestOptions = ConnectOptions &
  MessageOptions &
  OutputOptions & {
    readonly topic?: string
    readonly responseTopic: string
    readonly retained: boolean
    readonly timeout?: number
  }

/** @returns exit code */
export async function request(given: RequestOptions, io: Io): Promise<number> {
  const o: RequestOptions = { ...given, protocolVersion: given.protocolVersion ?? 5 }
  const target = parseTarget(o)
  const topic = o.topic ?? target.topic ?? rejectUsage('a topic is needed: -t')
  const payload = await readMessage(o, io)
  const print = createPrinter(o, io)
  return withBroker(o, io, target, (parts) => {
    const { client, properties, finish, tell } = parts
    const fail = (what: string, cause: unknown): void => {
      tell(createRequestError(what, cause))
      finish(1)
    }
    const ask = (): void => {
      const response = o.protocolVersion === 5 ? { responseTopic: o.responseTopic } : {}
      const publishing = { qos: o.qos, properties: { ...response, ...properties.publish } }
      client.publish(topic, payload, publishing, (err) => {
        if (err) fail('the broker refused the request', err)
      })
    }
    client.once('connect', () => {
      client.subscribe(o.responseTopic, { qos: o.qos, properties: properties.subscribe }, (err) => {
        if (err) fail('the broker refused the subscription for the response', err)
        else ask()
      })
    })
    let isAnswered = false
    client.on('message', (from, response, packet) => {
      if (isAnswered || (packet.retain && !o.retained)) return
      isAnswered = true
      print(from, response, packet)
      finish(0)
    })
    endAfter(o, parts)
  })
}
