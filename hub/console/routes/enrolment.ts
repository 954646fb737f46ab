/** Who waits, who was found twice, who is kept out. */
import type { FastifyInstance } from 'fastify'
import { toHttpError } from '../../api/http/errors.ts'
import { approveDevice, findNamespaces } from '../../enrollment/operator.ts'
import { checkNamespaces } from '../authorize.ts'
import type { DeviceRow } from '../schemas.ts'
import * as schemas from '../schemas.ts'
import { ERRORS, noteChange, type ConsoleParts } from './parts.ts'

const MAX_LISTED = 500

export function addEnrolmentRoutes(app: FastifyInstance, p: ConsoleParts): void {
  const { registry, view } = p
  app.get(
    '/api/v1/enrolment',
    {
      config: { access: { of: 'some', role: 'viewer' } },
      schema: { summary: 'Devices that somebody is to decide about', response: { 200: schemas.enrolment, ...ERRORS } },
    },
    async ({ operator }): Promise<schemas.Enrolment> => {
      const sees = ({ namespace }: { namespace: string }) => operator!.sees(namespace)
      const rows = [...(await view.rows()).values()].filter(sees)
      const waiting = []
      for (const w of (await registry.enrollments.requests()).filter(sees).slice(0, MAX_LISTED)) {
        const holder = await registry.enrollments.byName(w.name)
        const { name, namespace, serviceAccount, keyId, address, labels, why, askedMs } = w
        const has = holder && sees(holder) ? holder.keyId : null
        waiting.push({ name, namespace, serviceAccount, keyId, address, labels, why, askedMs, holder: has })
      }
      return {
        waiting,
        clones: await describeClones(p, rows.filter((row) => row.cloned).slice(0, MAX_LISTED)),
        keptOut: rows.filter(({ state }) => state === 'revoked' || state === 'suspended').slice(0, MAX_LISTED),
      }
    },
  )
  addApproval(app, p)
}

async function describeClones(
  { registry }: ConsoleParts,
  rows: readonly DeviceRow[],
): Promise<schemas.Enrolment['clones']> {
  const clones = []
  for (const row of rows) {
    const { keyId = null, cloneAddresses = null } = (await registry.enrollments.byName(row.name)) ?? {}
    clones.push({ ...row, keyId, cloneAddresses })
  }
  return clones
}

/** Each by itself: who was decided about meanwhile does not hold up the others. */
function addApproval(app: FastifyInstance, p: ConsoleParts): void {
  const { registry, clock } = p
  app.post<{ Body: schemas.ApproveMany }>(
    '/api/v1/enrolment/approve',
    {
      config: {
        // What is named may be of several tenants: each is looked at by itself.
        access: { of: 'some', role: 'operator' },
      },
      schema: {
        summary: 'Lets in many that wait, at once',
        body: schemas.approveManyBody,
        response: { 200: schemas.approvedMany, ...ERRORS },
      },
    },
    async (request): Promise<schemas.ApprovedMany> => {
      const approved: string[] = []
      const failed: { name: string; why: string }[] = []
      for (const { name, keyId } of request.body.devices)
        try {
          await registry.exclusively(async (tx) => {
            const namespaces = await findNamespaces(tx, name)
            checkNamespaces(request, { role: 'operator' }, namespaces)
            const detail = await approveDevice(tx, name, clock.wallMs(), keyId)
            const [namespace = ''] = namespaces
            await noteChange(p, request, { tx, event: 'device.approved', subject: name, detail, namespace })
          })
          approved.push(name)
        } catch (thrown) {
          const { status, body } = toHttpError(thrown)
          if (status >= 500) throw thrown
          failed.push({ name, why: body.message })
        }
      return { approved, failed }
    },
  )
}
