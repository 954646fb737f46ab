/** One gRPC call in both directions: its bytes are counted, its events guarded. */
import type { Client, Metadata, ServiceError } from '@grpc/grpc-js'
import { guard } from '../../core/defects/guard.ts'
import type { WorkloadHealth } from '../../model/readiness-probe.ts'
import type { ByteCount } from '../connection/control-plane.ts'
import { createHolder, Gate, type HolderParts } from './hold-messages.ts'
import { findKind } from './messages.ts'
import type { AdsRequest, AdsResponse } from './protocol.ts'

/**
 * `pause`: one message more is read, and waits for `resume`. `finish`: nothing more is said; `heard` is called when the
 * control plane has ended its side too.
 */
export type Call = {
  send(request: AdsRequest): void
  sendHealth(health: WorkloadHealth): void
  pause(): void
  resume(): void
  finish(heard: () => void): void
  cancel(): void
}
export type CallEvents = { onResponse(response: AdsResponse): void; onError(err: ServiceError): void; onClose(): void }
export type Outgoing = { readonly typeUrl: string; readonly bytes: Buffer }
export type CallOptions<A> = {
  readonly grpc: HolderParts
  readonly client: Client
  readonly metadata: Metadata
  readonly path: string
  readonly count: ByteCount | undefined
  readonly write: (request: AdsRequest) => Outgoing
  readonly health: (health: WorkloadHealth) => Outgoing
  readonly read: (bytes: Buffer) => A
  readonly response: (message: A) => AdsResponse | undefined
}

export function startCall<A extends { readonly typeUrl: string }>(
  { grpc, client, metadata, path, count, write, health, read, response }: CallOptions<A>,
  { onResponse, onError, onClose }: CallEvents,
): Call {
  const serialize = ({ typeUrl, bytes }: Outgoing): Buffer => {
    count?.(findKind(typeUrl) ?? 'other', 'sent', bytes.length)
    return bytes
  }
  const deserialize = (bytes: Buffer): A => {
    const message = read(bytes)
    count?.(findKind(message.typeUrl) ?? 'other', 'received', bytes.length)
    return message
  }
  const gate = new Gate()
  const interceptors = [createHolder(grpc, gate)]
  const call = client.makeBidiStreamRequest(path, serialize, deserialize, metadata, { interceptors })
  const broken = (): void => {
    call.cancel()
  }
  call.on(
    'data',
    guard('control', broken, (message: A) => {
      const known = response(message)
      if (known) onResponse(known)
    }),
  )
  call.on('error', guard('control', broken, onError))
  call.on('end', guard('control', broken, onClose))
  return {
    send: (request) => {
      call.write(write(request))
    },
    sendHealth: (state) => {
      call.write(health(state))
    },
    pause: () => gate.close(),
    resume: () => gate.open(),
    finish: (heard) => {
      gate.open()
      call.end()
      call.once('status', guard('control', broken, heard))
    },
    cancel: () => {
      gate.open()
      call.cancel()
    },
  }
}
