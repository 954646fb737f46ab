/** The audit log: page by page, and as a table for spreadsheets. */
import type { FastifyInstance } from 'fastify'
import type { AuditQuery, AuditRow } from '../../registry/audit.ts'
import { formatCsv } from '../../reports/csv.ts'
import type { Operator } from '../access.ts'
import * as schemas from '../schemas.ts'
import { ERRORS, type ConsoleParts } from './parts.ts'

const MAX_CSV_ROWS = 10_000
const COLUMNS = ['at', 'who', 'what', 'about', 'from', 'detail']

export function addAuditRoutes(app: FastifyInstance, { registry }: Pick<ConsoleParts, 'registry'>): void {
  app.get<{ Querystring: schemas.AuditFilters & { before?: number; limit: number } }>(
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
      entries: await registry.audit.page({ ...toQuery(query, operator!), before: query.before, most: query.limit }),
    }),
  )
  app.get<{ Querystring: schemas.AuditFilters }>(
    '/api/v1/audit.csv',
    {
      config: { access: { of: 'some', role: 'viewer' }, produces: 'text/csv' },
      schema: {
        summary: `The newest ${MAX_CSV_ROWS} of them as CSV, safe for spreadsheets`,
        querystring: schemas.auditCsvQuery,
        response: { 200: schemas.csv, ...ERRORS },
      },
    },
    async ({ query, operator }, reply) => {
      const rows = await registry.audit.page({ ...toQuery(query, operator!), most: MAX_CSV_ROWS })
      reply.header('content-type', 'text/csv; charset=utf-8; header=present')
      reply.header('content-disposition', 'attachment; filename="audit.csv"')
      // Not as JSON, which is what the schema's serializer makes.
      return reply.serializer(String).send(formatCsv(COLUMNS, rows.map(toCells)))
    },
  )
}

const toQuery = (q: schemas.AuditFilters, operator: Operator): Omit<AuditQuery, 'most'> => ({
  subject: q.subject,
  event: q.event,
  actor: q.actor,
  sinceMs: q.since,
  untilMs: q.until,
  namespaces: operator.seesAll ? undefined : operator.namespaces,
})
const toCells = (r: AuditRow): string[] => [
  new Date(r.atMs).toISOString(),
  r.actor,
  r.event,
  r.subject,
  r.address,
  r.detail,
]
