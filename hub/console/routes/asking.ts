/** What an operator asks a device over the hub that has its connection: its status, its log, to do something. */
import type { FastifyInstance } from 'fastify'
import { MeshError } from '../../../core/errors.ts'
import { Tallies, Tally, takeLease } from '../../../core/lease.ts'
import { COMMAND_LIMITS, type CommandName } from '../../../model/fleet/command.ts'
import { findHolderNamespaces } from '../../enrollment/operator.ts'
import { askDevice } from '../../reports/ask-device.ts'
import * as schemas from '../fleet-schemas.ts'
import { named } from '../schemas.ts'
import { ERRORS, readAddress, type ConsoleParts } from './parts.ts'

/** Each waits for its answer for half a minute at most, and looks for it five times a second. */
const MAX_ASKED = 32
const MAX_ASKED_PER_SESSION = 4
/** Who follows a log asks every few seconds: that is one thing that was done. */
const NOTED_FOR_MS = 10 * 60_000
const MAX_NOTED = 1_000
const IS_READING: readonly CommandName[] = ['status', 'logs']

type Asked = { Params: { name: string }; Body: { command: CommandName; lines: number } }

export function addAskingRoutes(app: FastifyInstance, p: ConsoleParts): void {
  const { registry, clock } = p
  const inAll = new Tally()
  const bySession = new Tallies<string>()
  const noted = new LatelyNoted()
  app.post<Asked>(
    '/api/v1/devices/:name/ask',
    {
      config: {
        access: {
          of: 'named',
          role: 'operator',
          find: ({ params }) => findHolderNamespaces(registry, (params as { name: string }).name),
        },
      },
      schema: {
        summary: 'Asks the device, as far as control.commands of its agent.yaml permits',
        params: named,
        body: schemas.askBody,
        response: { 200: schemas.answer, ...ERRORS },
      },
    },
    async (request): Promise<schemas.Answer> => {
      const { hash, operator } = request.operator!.session
      if (inAll.now >= MAX_ASKED || bySession.of(hash) >= MAX_ASKED_PER_SESSION)
        throw new MeshError(
          'MESH_CONTROL_SLOW_DOWN',
          `${MAX_ASKED_PER_SESSION} questions of one session and ${MAX_ASKED} in all are waited for at once`,
        )
      using _one = takeLease(inAll)
      using _own = bySession.lease(hash)
      const { command, lines } = request.body
      const { name } = request.params
      const isNoted = !IS_READING.includes(command) || noted.add(`${hash} ${name} ${command}`, clock.monotonicMs())
      return await askDevice(registry, {
        device: name,
        request: { command, lines, operator: operator.slice(0, COMMAND_LIMITS.operatorChars) },
        clock,
        address: readAddress(request),
        isNoted,
      })
    },
  )
}

class LatelyNoted {
  /** Oldest first. */
  readonly #until = new Map<string, number>()

  /** @returns whether it is to be noted now */
  add(key: string, nowMs: number): boolean {
    const until = this.#until.get(key)
    if (until !== undefined && nowMs < until) return false
    this.#until.delete(key)
    this.#until.set(key, nowMs + NOTED_FOR_MS)
    if (this.#until.size > MAX_NOTED) this.#until.delete(this.#until.keys().next().value!)
    return true
  }
}
