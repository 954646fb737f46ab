/**
 * The console's port: plain HTTP on loopback, HTTPS everywhere else. Connections come through a door (api/door.ts): one
 * over which no operator has asked has a deadline, and there are only so many.
 */
import fs from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import { createSecureContext } from 'node:tls'
import { doNothing, guard } from '../../core/defects/guard.ts'
import { MeshError } from '../../core/errors.ts'
import type { Clock, Timer } from '../../core/os/clock.ts'
import type { Log } from '../../core/log.ts'
import { isLoopback } from '../../model/browser.ts'
import { MAX_HEADER_BYTES } from '../api/http/app.ts'
import type { ServerIdentity } from '../api/server-identity.ts'
import type { ConsoleSettings } from './settings.ts'

const KEEP_ALIVE_MS = 60_000
const READ_AGAIN_MS = 60_000

export type Handler = (request: http.IncomingMessage, response: http.ServerResponse) => void
export type ServerOptions = {
  readonly settings: ConsoleSettings
  readonly identity: ServerIdentity
  readonly clock: Clock
  readonly log: Log
}

/** What its address says; behind a proxy on this machine, that ends TLS. */
export function usesTls({ listen, certificateFile }: ConsoleSettings): boolean {
  const host = /^\[?(.*?)\]?:\d+$/.exec(listen)![1]!
  return certificateFile !== undefined || !isLoopback(host)
}

/** As an operator types it. @param dnsNames of the hub: where it listens for all, its own name is the one to ask for */
export function describeAddress(settings: ConsoleSettings, dnsNames: readonly string[]): string {
  if (settings.publicUrl !== undefined) return URL.parse(settings.publicUrl)!.origin
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(settings.listen)!
  const name = host === '0.0.0.0' || host === '::' ? dnsNames[0]! : host!
  return `${usesTls(settings) ? 'https' : 'http'}://${name.includes(':') ? `[${name}]` : name}:${port}`
}

/** Does not listen: the door lets connections in. Throws MESH_CONFIG_INVALID for files that cannot be used. */
export function createServer(o: ServerOptions, handler: Handler): (http.Server | https.Server) & Disposable {
  const limits = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: o.settings.requestMs,
    requestTimeout: o.settings.requestMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: 1_000,
  }
  const guarded = guard(
    'hub',
    (_error, request: http.IncomingMessage) => {
      request.socket.destroy()
    },
    handler,
  )
  if (!usesTls(o.settings))
    return Object.assign(watchSlow(http.createServer(limits, guarded)), { [Symbol.dispose]() {} })
  const server = https.createServer({ ...limits, ...readIdentity(o), minVersion: 'TLSv1.2' }, guarded)
  server.on(
    'tlsClientError',
    guard('hub', doNothing, (_err: Error, socket: Socket) => {
      socket.destroy()
    }),
  )
  const renewal = followIdentity(o, (next) => server.setSecureContext({ ...next, minVersion: 'TLSv1.2' }))
  return Object.assign(watchSlow(server), { [Symbol.dispose]: () => renewal[Symbol.dispose]() })
}

/** A server looks after slow requests from the moment that it listens, which this one does by its door. */
function watchSlow<S extends http.Server | https.Server>(server: S): S {
  server.emit('listening')
  return server
}

type Pems = { readonly cert: string; readonly key: string }

function readIdentity({ settings: { certificateFile, keyFile }, identity }: ServerOptions): Pems {
  if (certificateFile === undefined) return { cert: identity.current.chainPem, key: identity.current.keyPem }
  if (keyFile === undefined)
    throw new MeshError('MESH_CONFIG_INVALID', 'console.certificateFile needs console.keyFile beside it')
  try {
    const pems = { cert: fs.readFileSync(certificateFile, 'utf8'), key: fs.readFileSync(keyFile, 'utf8') }
    createSecureContext(pems)
    return pems
  } catch (cause) {
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `console.certificateFile ${certificateFile} and console.keyFile ${keyFile} cannot be used together`,
      { cause },
    )
  }
}

/** Renewed certificates are taken without a restart; what cannot be used is said, and the last good one stays. */
function followIdentity(o: ServerOptions, put: (pems: Pems) => void): Disposable {
  const { settings, identity, clock, log } = o
  if (settings.certificateFile === undefined) return identity.onRenewed(() => put(readIdentity(o)))
  let last = JSON.stringify(readIdentity(o))
  let timer: Timer | undefined
  const look = (): void => {
    try {
      const pems = readIdentity(o)
      if (JSON.stringify(pems) !== last) put(pems)
      last = JSON.stringify(pems)
    } catch (err) {
      log.warn({ evt: 'hub.console-certificate', err }, 'the certificate of the console is not read again')
    }
    timer = clock.after(READ_AGAIN_MS, look)
  }
  timer = clock.after(READ_AGAIN_MS, look)
  return { [Symbol.dispose]: () => timer?.cancel() }
}
