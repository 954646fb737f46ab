/** A TCP connection on the way to the hub: directly, or through an HTTP proxy, which resolves the name then. */
import net from 'node:net'
import { doNothing, guard } from '../../core/defects/guard.ts'
import { isDirect, type EnvironmentProxy } from '../../model/ip.ts'

export type TcpTarget = {
  /** Without brackets. */
  readonly host: string
  readonly port: number
  readonly proxy: EnvironmentProxy | undefined
  /** Resolves the name where no proxy does; undefined: the system. */
  readonly lookup?: net.LookupFunction | undefined
}

/** A proxy's answer to CONNECT. */
const MAX_ANSWER_BYTES = 16 * 1024

/** Rejects with the signal's reason, or an error that says what happened. */
export async function openTcpPath(to: TcpTarget, signal: AbortSignal): Promise<net.Socket> {
  signal.throwIfAborted()
  const { host, port, lookup } = to
  const proxy = to.proxy && !isDirect(to.proxy.noProxy, to) ? to.proxy : undefined
  const socket = net.connect({
    ...(proxy ? proxy.address : { host, port }),
    noDelay: true,
    keepAlive: true,
    ...(lookup && !proxy ? { lookup } : {}),
  })
  try {
    await waitForEvent(socket, 'connect', signal)
    if (proxy) await passProxy(socket, { proxy, to, signal })
    return socket
  } catch (thrown) {
    socket.destroy()
    throw thrown
  }
}

/** RFC 9110 §9.3.6. */
async function passProxy(
  socket: net.Socket,
  p: { readonly proxy: EnvironmentProxy; readonly to: TcpTarget; readonly signal: AbortSignal },
): Promise<void> {
  const { proxy, signal } = p
  const { host, port } = p.to
  const to = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const credentials =
    proxy.credentials === undefined
      ? ''
      : `Proxy-Authorization: Basic ${Buffer.from(proxy.credentials).toString('base64')}\r\n`
  socket.write(`CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n${credentials}\r\n`)
  try {
    const line = await readAnswer(socket, signal)
    if (!/^HTTP\/1\.[01] 2\d\d\b/.test(line)) throw new Error(`it answers ${JSON.stringify(line)}`)
  } catch (cause) {
    signal.throwIfAborted()
    const { address } = proxy
    throw new Error(`the proxy ${address.host}:${address.port} does not lead to ${to}: ${(cause as Error).message}`, {
      cause,
    })
  }
}

/** @returns the first line */
async function readAnswer(socket: net.Socket, signal: AbortSignal): Promise<string> {
  let head = Buffer.alloc(0)
  while (!head.includes('\r\n\r\n')) {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) {
      await waitForEvent(socket, 'readable', signal)
      if (socket.readableEnded) throw new Error('it closed the connection')
      continue
    }
    head = Buffer.concat([head, chunk])
    if (head.length > MAX_ANSWER_BYTES) throw new Error('its answer has no end')
  }
  const end = head.indexOf('\r\n\r\n') + 4
  if (end < head.length) socket.unshift(head.subarray(end))
  return head.toString('latin1').split('\r\n', 1)[0]!
}

/** Rejects with the socket's error, when it is closed, or with the signal's reason. */
export function waitForEvent(
  socket: net.Socket,
  event: 'connect' | 'secureConnect' | 'readable',
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const done = guard('control', reject, () => resolve())
  const failed = guard('control', doNothing, (err: Error) => reject(err))
  const closed = guard('control', doNothing, () => reject(new Error('the connection was closed')))
  const aborted = guard('control', doNothing, () => reject(signal.reason))
  socket.once(event, done).once('error', failed).once('close', closed)
  signal.addEventListener('abort', aborted, { once: true })
  if (signal.aborted) aborted()
  return promise.finally(() => {
    socket.off(event, done).off('error', failed).off('close', closed)
    signal.removeEventListener('abort', aborted)
    socket.on('error', doNothing)
  })
}
