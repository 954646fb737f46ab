/** The way from `meshlet-hub connect` to the hub that runs beside it. */
import fs from 'node:fs'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { doNothing, guard } from '../../core/defects/guard.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import { asOwner } from '../../core/os/as-owner.ts'
import { resetSocket } from '../../core/os/sockets/reset-socket.ts'
import { secureFolder } from '../../core/os/state-folder.ts'
import type { RelayStream } from '../../core/relay/stream.ts'
import { joinTunnel, type TunnelEnd } from '../../core/relay/tunnel.ts'
import { nameConnectSocket, type ConnectRequest } from './connect-request.ts'
import { openLocalMux, type LocalMux } from './local-mux.ts'

export type HubBeside = Disposable & {
  /** Why the hub carries nothing any more. */
  readonly ended: Promise<MeshError>
  /** Joins the socket and the device's port until both have said all, or the one or the other has gone. */
  carry(socket: Duplex, request: ConnectRequest): Promise<TunnelEnd>
}

/** The hub accepts none of its own. */
const NO_STREAMS = 1

/** Rejects with MESH_CONNECT_NO_HUB, MESH_STATE_UNUSABLE. */
export async function findHubBeside(state: string): Promise<HubBeside> {
  const file = nameConnectSocket(state)
  checkOwner(state, file)
  const socket = await dial(state, file)
  const { mux, ended } = openLocalMux(socket, {
    side: 'agent',
    maxStreams: NO_STREAMS,
    onStream: () => {
      throw new MeshError('MESH_CONTROL_PROTOCOL', 'the hub opens no streams to this command')
    },
  })
  return {
    ended,
    carry: (own, request) => carry(mux, own, request),
    [Symbol.dispose]: () => {
      socket.destroy()
    },
  }
}

/** Whoever answers there hears what operators send to their devices. */
function checkOwner(state: string, file: string): void {
  if (fs.existsSync(state)) secureFolder(state, 'owner or root')
  const found = fs.lstatSync(file, { throwIfNoEntry: false })
  if (!found)
    throw new MeshError('MESH_CONNECT_NO_HUB', `there is no ${file}: no hub runs on ${state}, or without relay`)
  if (!found.isSocket()) throw new MeshError('MESH_CONNECT_NO_HUB', `${file} is no socket`)
  const owner = fs.statSync(state).uid
  if (found.uid !== owner)
    throw new MeshError('MESH_CONNECT_NO_HUB', `${file} belongs to user ${found.uid}, and the folder to user ${owner}`)
}

function dial(state: string, file: string): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = asOwner(state, () => net.connect({ path: file }))
    const fail = guard('hub', reject, (err: Error) => {
      socket.destroy()
      reject(new MeshError('MESH_CONNECT_NO_HUB', `no hub answers at ${file}: ${err.message}`))
    })
    socket.once('error', fail)
    socket.once(
      'connect',
      guard('hub', reject, () => {
        socket.removeListener('error', fail)
        resolve(socket)
      }),
    )
  })
}

async function carry(mux: LocalMux['mux'], socket: Duplex, request: ConnectRequest): Promise<TunnelEnd> {
  socket.on('error', doNothing)
  const stream = mux.open('tunnel', Buffer.from(JSON.stringify(request)))
  const gone = guard('hub', doNothing, () =>
    stream.reset(new MeshError('MESH_CONNECT_BROKEN', 'the connection was closed')),
  )
  try {
    await waitUntilReached(stream, socket, gone)
    const joined = joinTunnel(stream, socket, 'hub')
    stream.resume()
    return await joined
  } catch (thrown) {
    resetSocket(socket)
    return { sent: 0, received: 0, reason: toMeshError(thrown) }
  }
}

/** What follows waits in the stream. */
async function waitUntilReached(stream: RelayStream, socket: Duplex, gone: () => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const closed = guard('hub', reject, () => {
    gone()
    reject(new MeshError('MESH_CONNECT_BROKEN', 'the connection was closed'))
  })
  socket.once('close', closed)
  stream.listen({
    onMessage: () => {
      stream.pause()
      resolve()
    },
    onReset: reject,
  })
  try {
    await promise
  } finally {
    socket.removeListener('close', closed)
  }
}
