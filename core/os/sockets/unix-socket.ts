/**
 * A Unix socket to listen on: what an earlier run left is removed, what is somebody else's is not, and only whom the
 * mode names may connect.
 */
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { guard } from '../../defects/guard.ts'
import { BACKLOG, type Listening, type Network, type NetStream, waitUntilOpen } from '../network.ts'

/** What stands for an address where there is none. */
export const UNIX_HOST = 'unix'
export type UnixSocket = { readonly path: string; readonly mode: number }

/** `network`, with Unix sockets to listen on, too. */
export function addUnixSockets(network: Network): Network {
  return {
    ...network,
    listen: (at, onStream) =>
      at.unixMode === undefined
        ? network.listen(at, onStream)
        : listenOnUnixSocket({ path: at.host, mode: at.unixMode }, onStream),
  }
}

/** Rejects with an error that has a `code`: EADDRINUSE, EACCES, EEXIST, ENOENT. */
export async function listenOnUnixSocket(
  { path: file, mode }: UnixSocket,
  onStream: (accepted: NetStream) => void,
): Promise<Listening> {
  checkFolder(path.dirname(file))
  await removeStale(file)
  return waitUntilOpen(
    (server) => {
      // Until then nobody but the owner may connect: that takes write permission, which the usual umask withholds.
      server.once(
        'listening',
        guard(
          'network',
          (error) => server.emit('error', error),
          () => {
            fs.chmodSync(file, mode)
          },
        ),
      )
      server.listen({ path: file, backlog: BACKLOG })
    },
    ({ stream }) => onStream({ stream, local: { host: UNIX_HOST, port: 0 }, remote: { host: UNIX_HOST, port: 0 } }),
  )
}

/** Whoever may write to the folder could put a socket of their own in this one's place. */
function checkFolder(folder: string): void {
  const { uid, mode } = fs.statSync(folder)
  const isOurs = uid === 0 || uid === process.getuid?.()
  const isSticky = (mode & 0o1000) !== 0
  if (!isOurs || ((mode & 0o002) !== 0 && !isSticky))
    throw failure('EACCES', `the folder ${folder} belongs to another user, or anybody may write to it`)
}

async function removeStale(file: string): Promise<void> {
  const found = fs.lstatSync(file, { throwIfNoEntry: false })
  if (!found) return
  if (!found.isSocket()) throw failure('EEXIST', `${file} is there and is no socket`)
  if (found.uid !== process.getuid?.() && process.getuid?.() !== 0)
    throw failure('EACCES', `the socket ${file} belongs to another user`)
  if (await isAnswered(file)) throw failure('EADDRINUSE', `another process listens on ${file}`)
  fs.unlinkSync(file)
}

function isAnswered(file: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ path: file })
    const settle = (answered: boolean): void => {
      socket.destroy()
      resolve(answered)
    }
    const unknown = (): void => settle(true)
    socket.once(
      'connect',
      guard('network', unknown, () => settle(true)),
    )
    socket.once(
      'error',
      guard('network', unknown, (err: NodeJS.ErrnoException) =>
        settle(err.code !== 'ECONNREFUSED' && err.code !== 'ENOENT'),
      ),
    )
  })
}

function failure(code: string, message: string): NodeJS.ErrnoException {
  return Object.assign(new Error(message), { code })
}
