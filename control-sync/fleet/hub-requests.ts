/**
 * What the hub may ask of this device: what agent.yaml permits, and nothing else, whoever asks and whatever the hub
 * says. Each request is one line in the log, with who asked and what came of it.
 */
import type { Duplex } from 'node:stream'
import { detach } from '../../core/defects/guard.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Clock } from '../../core/os/clock.ts'
import { toPrintable } from '../../core/printable.ts'
import { packMessage, unpackMessage } from '../../core/relay/compression.ts'
import type { RelayStream } from '../../core/relay/stream.ts'
import { joinTunnel } from '../../core/relay/tunnel.ts'
import {
  COMMAND_LIMITS,
  parseCommandRequest,
  parseTunnelRequest,
  type CommandAnswer,
  type CommandName,
  type CommandRequest,
} from '../../model/fleet/command.ts'
import type { ControlPlane } from '../connection/control-plane.ts'

export type HubPermissions = {
  /** control.commands */
  readonly commands: readonly CommandName[]
  /** control.connect.ports, as HOST:PORT. */
  readonly ports: readonly string[]
}
export type HubRequestsOptions = {
  readonly clock: Clock
  readonly log: Log
  readonly permitted: HubPermissions
  readonly run: (request: CommandRequest) => Promise<CommandAnswer>
  readonly bytes?: ControlPlane['bytes']
  /** Rejects with what the system says. */
  readonly dial: (to: { readonly host: string; readonly port: number }, signal: AbortSignal) => Promise<Duplex>
}

/** At once; more are refused. */
const MAX_COMMANDS = 2
const MAX_TUNNELS = 8
/** The answer of a command has so long. */
const ANSWER_MS = 20_000
const DIAL_MS = 5_000
/** A stream that asks nothing. */
const ASK_MS = 10_000

export class HubRequests {
  readonly #o: HubRequestsOptions
  readonly #tunnels = new Set<OpenTunnel>()
  #permitted: HubPermissions
  #commands = 0

  constructor(options: HubRequestsOptions) {
    this.#o = options
    this.#permitted = options.permitted
  }

  /** From now on; connections to ports that are permitted no longer end. */
  permit(permitted: HubPermissions): void {
    this.#permitted = permitted
    for (const tunnel of this.#tunnels)
      if (!permitted.ports.includes(tunnel.to)) tunnel.stop.abort(forbidPort(tunnel.to))
  }

  /** Throws MESH_CONTROL_FORBIDDEN, MESH_CONTROL_SLOW_DOWN, MESH_CONTROL_PROTOCOL: the stream is reset with it. */
  accept(stream: RelayStream, head: Uint8Array): void {
    switch (stream.kind) {
      case 'command':
        this.#acceptCommand(stream)
        return
      case 'tunnel':
        this.#acceptTunnel(stream, head)
        return
      case 'certificate':
      case 'request':
      case 'configuration':
      case 'report':
        throw new MeshError('MESH_CONTROL_FORBIDDEN', `this device lets the hub open no ${stream.kind}`)
    }
  }

  #acceptCommand(stream: RelayStream): void {
    if (this.#commands >= MAX_COMMANDS)
      throw new MeshError('MESH_CONTROL_SLOW_DOWN', `${MAX_COMMANDS} commands are being answered already`)
    this.#commands++
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    const late = this.#o.clock.after(ASK_MS, () => reject(new MeshError('MESH_CONTROL_TIMEOUT', 'nothing was asked')))
    stream.listen({ onMessage: resolve, onReset: reject, onEnd: () => undefined })
    const done = this.#answer(stream, promise).finally(() => {
      late.cancel()
      this.#commands--
    })
    detach('control', done)
  }

  async #answer(stream: RelayStream, asked: Promise<Uint8Array>): Promise<void> {
    const { log, run, clock, bytes } = this.#o
    let request: CommandRequest | undefined
    try {
      const question = await asked
      bytes?.('command', 'received', question.length)
      const text = Buffer.from(unpackMessage(question, COMMAND_LIMITS.requestBytes)).toString('utf8')
      request = parseCommandRequest(text)
      if (!request) throw new MeshError('MESH_CONTROL_PROTOCOL', 'the hub asked what is no command')
      if (!this.#permitted.commands.includes(request.command))
        throw new MeshError(
          'MESH_CONTROL_FORBIDDEN',
          `control.commands of this device's agent.yaml does not permit ${request.command}`,
        )
      const answer = await withDeadline(run(request), clock)
      const message = packMessage(Buffer.from(JSON.stringify(answer)), { withDictionary: false })
      if (message.length > COMMAND_LIMITS.answerBytes)
        throw new MeshError('MESH_CONTROL_PROTOCOL', `the answer has ${message.length} bytes, which is too much`)
      bytes?.('command', 'sent', message.length)
      stream.send(message)
      stream.end()
      this.#note(request, undefined)
    } catch (thrown) {
      const reason = toMeshError(thrown)
      stream.reset(reason)
      if (request) this.#note(request, reason)
      else log.warn({ evt: 'control.command', err: reason }, 'the hub asked something that is not done')
    }
  }

  #note({ command, operator }: CommandRequest, err: MeshError | undefined): void {
    const line = { evt: 'control.command', command, operator: toPrintable(operator) }
    if (err) this.#o.log.warn({ ...line, err }, 'a command from the hub was not carried out')
    else this.#o.log.info(line, 'a command from the hub was carried out')
  }

  #acceptTunnel(stream: RelayStream, head: Uint8Array): void {
    const request =
      head.length <= COMMAND_LIMITS.requestBytes ? parseTunnelRequest(Buffer.from(head).toString('utf8')) : undefined
    if (!request) throw new MeshError('MESH_CONTROL_PROTOCOL', 'the hub asked for no port')
    const { host, port } = request
    const to = `${host}:${port}`
    const line = { evt: 'control.connect', to: toPrintable(to), operator: toPrintable(request.operator) }
    const refuse = (reason: MeshError): MeshError => {
      this.#o.log.warn({ ...line, err: reason }, 'a connection through the hub was refused')
      return reason
    }
    if (!this.#permitted.ports.includes(to)) throw refuse(forbidPort(to))
    if (this.#tunnels.size >= MAX_TUNNELS)
      throw refuse(new MeshError('MESH_CONTROL_SLOW_DOWN', `${MAX_TUNNELS} connections are open already`))
    const tunnel = { to, stop: new AbortController() }
    this.#tunnels.add(tunnel)
    // What comes before the port is reached waits, as far as the window goes.
    stream.pause()
    detach(
      'control',
      this.#connect(stream, { host: host.replace(/^\[(.*)\]$/, '$1'), port }, { line, stop: tunnel.stop }).finally(() =>
        this.#tunnels.delete(tunnel),
      ),
    )
  }

  async #connect(
    stream: RelayStream,
    to: { host: string; port: number },
    { line, stop }: { readonly line: object; readonly stop: AbortController },
  ): Promise<void> {
    const { log, dial, clock, bytes } = this.#o
    const late = clock.after(DIAL_MS, () =>
      stop.abort(new MeshError('MESH_CONTROL_TIMEOUT', 'the port does not answer')),
    )
    stream.listen({ onMessage: () => undefined, onReset: (reason) => stop.abort(reason) })
    try {
      const socket = await dial(to, stop.signal)
      late.cancel()
      log.info(line, 'a connection through the hub was opened')
      // An empty message says that the port is reached.
      stream.send(new Uint8Array(0))
      const joined = joinTunnel(stream, socket, 'control', stop.signal)
      stream.resume()
      const { sent, received, reason } = await joined
      bytes?.('tunnel', 'sent', sent)
      bytes?.('tunnel', 'received', received)
      log.info({ ...line, sent, received, ...(reason && { err: reason }) }, 'a connection through the hub has ended')
    } catch (thrown) {
      const reason = describeUnreached(thrown)
      stream.reset(reason)
      log.warn({ ...line, err: reason }, 'a connection through the hub was refused')
    } finally {
      late.cancel()
    }
  }
}

type OpenTunnel = { readonly to: string; readonly stop: AbortController }

function forbidPort(to: string): MeshError {
  const own = /^127\.0\.0\.1:(\d+)$/.exec(to)?.[1]
  const line = `control: {connect: {ports: [${own ?? `'${toPrintable(to)}'`}]}}`
  return new MeshError(
    'MESH_CONTROL_FORBIDDEN',
    `control.connect.ports of this device's agent.yaml does not permit ${toPrintable(to)}; \`${line}\` would`,
  )
}
function describeUnreached(thrown: unknown): MeshError {
  const { code, message } = toMeshError(thrown)
  if (code === 'MESH_CONTROL_FORBIDDEN') return new MeshError(code, message)
  return new MeshError('MESH_CONTROL_UNREACHABLE', `the port cannot be reached: ${message}`)
}

async function withDeadline<T>(work: Promise<T>, clock: Clock): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const late = clock.after(ANSWER_MS, () =>
    reject(new MeshError('MESH_CONTROL_TIMEOUT', `the device had no answer within ${ANSWER_MS / 1_000} s`)),
  )
  try {
    return await Promise.race([work, promise])
  } finally {
    late.cancel()
  }
}
