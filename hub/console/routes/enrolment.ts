/** Who waits, who was found twice, who is kept out; and the audit log. */
import type { FastifyInstance } from 'fastify'
import * as schemas from '../schemas.ts'
import { ERRORS, type ConsoleParts } from './parts.ts'

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
        clones: rows.filter((row) => row.cloned).slice(0, MAX_LISTED),
        keptOut: rows.filter(({ state }) => state === 'revoked' || state === 'suspended').slice(0, MAX_LISTED),
      }
    },
  )
  app.get<{ Querystring: { before?: number; subject?: string; limit: number } }>(
    '/api/v1/audit',
    {
      config: { access: { of: 'some', role: 'viewer' } },
      schema: {
        summary: 'Who did what and when, newest first',
        querystring: schemas.auditQuery,
        response: { 200: schemas.auditPage, ...ERRORS },
      },
    },
    async ({ query, operator }) => ({
      entries: await registry.audit.page({
        before: query.before,
        subject: query.subject,
        namespaces: operator!.seesAll ? undefined : operator!.namespaces,
        most: query.limit,
      }),
    }),
  )
}
