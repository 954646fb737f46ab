/** Rollouts: seen, started, held and ended. They are for devices of any namespace, so a role in all of them is needed. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { MeshError } from '../../../core/errors.ts'
import type { RolloutRecord } from '../../registry/rollout/rollouts.ts'
import { isActive } from '../../rollout/machine.ts'
import {
  abortRollout,
  findUndoable,
  pauseRollout,
  resumeRollout,
  startRollout,
  undoRollout,
  type Operator,
  type RolloutPlan,
} from '../../rollout/operate.ts'
import { planRollout } from '../../rollout/preview.ts'
import { measureRollout, type RolloutProgress } from '../../rollout/progress.ts'
import { makeScope } from '../../rollout/scope.ts'
import type { HubConfig } from '../../config.ts'
import { describeAssignment, describeRollout } from '../../reports/rollout-status.ts'
import { Rested } from '../fleet/rested.ts'
import * as schemas from '../rollout-schemas.ts'
import { identified } from '../schemas.ts'
import { ERRORS, readAddress, type ConsoleParts } from './parts.ts'

export type RolloutRoutes = ConsoleParts & { readonly policy: HubConfig['rollout'] }
type Identified = { Params: { id: string } }
const SHOWN = 100
const MAX_PROBLEMS = 20

export function addRolloutRoutes(app: FastifyInstance, p: RolloutRoutes): void {
  const { registry, policy } = p
  const progress = new ProgressView(p)
  app.get(
    '/api/v1/rollouts',
    {
      config: { access: { of: 'all', role: 'viewer' } },
      schema: { summary: 'Rollouts, and what is in force for whom', response: { 200: schemas.rolloutList, ...ERRORS } },
    },
    async ({ operator }): Promise<schemas.RolloutList> => {
      const folder = await registry.rollouts.folder()
      const { waves, halt, soakSec, awaySec } = policy
      return {
        rollouts: (await registry.rollouts.list(SHOWN)).map(describeRollout),
        inForce: (await registry.rollouts.assignments()).map(describeAssignment),
        folder: {
          revision: folder.revision ?? null,
          problems: folder.problems.slice(0, MAX_PROBLEMS),
          held: folder.held,
        },
        defaults: { waves, halt, soakSec, awaySec },
        undo: (await findUndoable(registry))?.id ?? null,
        may: { start: operator!.may('admin', '*'), decide: operator!.may('operator', '*') },
      }
    },
  )
  app.get<Identified>(
    '/api/v1/rollouts/:id',
    {
      config: { access: { of: 'all', role: 'viewer' } },
      schema: {
        summary: 'One rollout: how far its waves are, and what stands against its gates',
        params: identified,
        response: { 200: schemas.rolloutDetail, ...ERRORS },
      },
    },
    async ({ params, operator }): Promise<schemas.RolloutDetail> => {
      const rollout = await registry.rollouts.get(params.id)
      if (!rollout) throw new MeshError('MESH_CONSOLE_NOT_FOUND', 'there is no rollout of this id')
      const mayDecide = operator!.may('operator', '*')
      return {
        rollout: describeRollout(rollout),
        progress: isActive(rollout) ? await progress.of(rollout) : null,
        undo: (await findUndoable(registry))?.id === rollout.id,
        may: { decide: mayDecide, compare: mayDecide },
      }
    },
  )
  addStart(app, p)
  addPreview(app, p)
  addChanges(app, p)
}

/** Counts all devices and their reports, for all pages together. */
class ProgressView {
  readonly #view: Rested<RolloutProgress | undefined>
  #record: RolloutRecord | undefined

  constructor({ clock, registry }: ConsoleParts) {
    this.#view = new Rested(clock, async () => this.#record && (await measureRollout(registry, this.#record)))
  }
  async of(record: RolloutRecord): Promise<RolloutProgress | null> {
    const before = this.#record
    this.#record = record
    if (before?.id !== record.id || before.sequence !== record.sequence) this.#view.forget()
    return (await this.#view.read()) ?? null
  }
}

function addStart(app: FastifyInstance, { registry, clock, policy, view }: RolloutRoutes): void {
  app.post<{ Body: schemas.RolloutWish }>(
    '/api/v1/rollouts',
    {
      config: { access: { of: 'all', role: 'admin' } },
      schema: {
        summary: 'Brings a revision to devices; what is not said is as `rollout` of hub.yaml says',
        body: schemas.rolloutBody,
        response: { 200: schemas.rolloutDone, ...ERRORS },
      },
    },
    async (request) => {
      const { why } = request.body
      const plan = toPlan(request.body, policy)
      const rollout = await startRollout(registry, plan, describeOperator(request, clock.wallMs(), why))
      view.forget()
      return { rollout: describeRollout(rollout) }
    },
  )
}

const toPlan = (body: schemas.RolloutWish, policy: RolloutRoutes['policy']): RolloutPlan => {
  const { to, labels, device, waves, halt, soakSec, awaySec, now, id } = body
  return {
    to,
    scope: makeScope({ labels, device }),
    waves: waves ?? policy.waves,
    halt: halt ?? policy.halt,
    soakMs: (soakSec ?? policy.soakSec) * 1_000,
    awayMs: (awaySec ?? policy.awaySec) * 1_000,
    now,
    id,
  }
}

function addPreview(app: FastifyInstance, { registry, policy }: RolloutRoutes): void {
  app.post<{ Body: schemas.RolloutWish }>(
    '/api/v1/rollouts/preview',
    {
      config: { access: { of: 'all', role: 'admin' } },
      schema: {
        summary: 'Who would be in which wave; nothing is changed',
        body: schemas.rolloutBody,
        response: { 200: schemas.rolloutPreview, ...ERRORS },
      },
    },
    async ({ body }): Promise<schemas.RolloutPreview> => planRollout(registry, toPlan(body, policy)),
  )
}

/** Instead of an id: whichever it is, as the command line asks that has shown none. */
const CURRENT = 'current'
const CHANGES = [
  ['pause', 'No further wave begins; the gates go on', pauseRollout],
  ['resume', 'Goes on after a pause', resumeRollout],
  ['abort', 'Ends it: its devices go back to what was good last', abortRollout],
  ['undo', 'After its end: devices go back, at once, to what was in force before it', undoRollout],
] as const

function addChanges(app: FastifyInstance, { registry, clock, view }: RolloutRoutes): void {
  for (const [verb, summary, decide] of CHANGES)
    app.post<Identified & { Body: { why?: string } }>(
      `/api/v1/rollouts/:id/${verb}`,
      {
        config: { access: { of: 'all', role: 'operator' } },
        schema: {
          summary: `${summary}; \`${CURRENT}\` is the one whose turn it is`,
          params: identified,
          body: schemas.whyBody,
          response: { 200: schemas.rolloutDone, ...ERRORS },
        },
      },
      async (request) => {
        const id = request.params.id === CURRENT ? undefined : request.params.id
        if (id !== undefined && !(await registry.rollouts.get(id)))
          throw new MeshError('MESH_CONSOLE_NOT_FOUND', 'there is no rollout of this id')
        const rollout = await decide(registry, describeOperator(request, clock.wallMs(), request.body.why), id)
        view.forget()
        return { rollout: describeRollout(rollout) }
      },
    )
}

const describeOperator = (request: FastifyRequest, nowMs: number, why: string | undefined): Operator => ({
  actor: request.operator!.session.operator,
  address: readAddress(request),
  nowMs,
  why,
})
