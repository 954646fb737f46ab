/** What is taken of each kind, by its schema. */
import * as z from 'zod'
import { KINDS } from '../kinds/kinds.ts'
import { unwrap } from './read-configs.ts'

export type Refused = { readonly path: string; readonly why: string }

export type KindFields = {
  readonly kind: string
  readonly versions: readonly string[]
  readonly covered: readonly string[]
  readonly refused: readonly Refused[]
}

export function listKinds(): KindFields[] {
  return Object.entries(KINDS).map(([kind, { schema, versions }]) => {
    const root = unwrap(schema)
    const fields = root instanceof z.ZodObject ? Object.keys(root.shape as object) : []
    const refused = listRefused(root, '')
    return { kind, versions, covered: fields.filter((field) => !refused.some((r) => r.path === field)), refused }
  })
}

function listRefused(schema: unknown, path: string): Refused[] {
  const why = schema instanceof z.ZodType ? (schema.meta()?.['refused'] as string | undefined) : undefined
  if (why !== undefined) return [{ path, why }]
  const at = unwrap(schema)
  const inner = at instanceof z.ZodType ? (at.meta()?.['refused'] as string | undefined) : undefined
  if (inner !== undefined) return [{ path, why: inner }]
  if (at instanceof z.ZodObject)
    return Object.entries(at.shape as Readonly<Record<string, unknown>>).flatMap(([key, one]) =>
      listRefused(one, path === '' ? key : `${path}.${key}`),
    )
  if (at instanceof z.ZodArray) return listRefused(at.element, `${path}[]`)
  if (at instanceof z.ZodRecord) return listRefused(at.valueType, `${path}.*`)
  return []
}
