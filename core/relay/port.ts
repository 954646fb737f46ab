/** A WebSocket as the streams of a relay write to it. */
import { guard, type Part } from '../defects/guard.ts'
import type { RelayPort } from './mux.ts'

/** What package ws gives. */
type Socket = {
  readonly bufferedAmount: number
  send(data: Uint8Array, done: (err?: Error) => void): void
  terminate(): void
}

/** @param part where a defect is reported */
export function toPort(websocket: Socket, part: Part): RelayPort {
  return {
    // An error comes as an event, too.
    send: (message, done) =>
      websocket.send(
        message,
        guard(part, () => websocket.terminate(), done),
      ),
    get bufferedBytes() {
      return websocket.bufferedAmount
    },
  }
}
