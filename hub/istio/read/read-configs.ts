/** Istio YAML → checked resources, or every mistake with its line and column. Never throws. */
import * as z from 'zod'
import type { Config, Place, Problem } from '../config.ts'
import { isKind, KINDS, type Kind, type KindRow } from '../kinds/kinds.ts'
import { findExportMistakes, type DestinationRule } from '../kinds/destination-rule.ts'
import type { EnvoyFilter } from '../kinds/envoy-filter.ts'
import { findPatchMistakes, type Mistake } from './check-patches.ts'
import { readDocuments, type YamlDocument } from './documents.ts'
import { suggestName } from '../../../control-sync/directory/text/spelling.ts'

export type SourceFile = { readonly name: string; readonly text: string }
export type ReadConfigs = { readonly configs: readonly Config[]; readonly problems: readonly Problem[] }

/** Whether a file holds Kubernetes objects and not resources of xDS. */
export function isIstioYaml({ name, text }: SourceFile): boolean {
  return /\.ya?ml$/i.test(name) && /^(?:apiVersion|kind)[ \t]*:/m.test(text)
}

/** YAML takes `n`, `on` and `123` for something else. */
function explainText(input: unknown, missing: string): string {
  return input === undefined ? missing : 'must be a text: put it in quotes'
}

const LABELS = z.record(z.string(), z.string())
/** What an API server adds is in what `kubectl get -o yaml` writes; nothing of it counts but the age. */
const metadata = z.strictObject({
  name: z
    .string({ error: ({ input }) => explainText(input, 'is missing') })
    .regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, 'must be letters, digits, "-" and "."'),
  namespace: z
    .string({ error: ({ input }) => explainText(input, 'is missing; kubectl would take that of its context') })
    .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'must be letters, digits and "-"'),
  labels: LABELS.optional(),
  annotations: LABELS.optional(),
  creationTimestamp: z.iso.datetime().nullish(),
  generation: z.unknown().optional(),
  managedFields: z.unknown().optional(),
  ownerReferences: z.unknown().optional(),
  finalizers: z.unknown().optional(),
  resourceVersion: z.unknown().optional(),
  uid: z.unknown().optional(),
})

export function readConfigs(file: SourceFile): ReadConfigs {
  const { documents, problems } = readDocuments(file.text)
  const found: Problem[] = problems.map((p) => ({ file: file.name, resource: '', field: '', ...p }))
  const configs: Config[] = []
  for (const document of documents) {
    const made = readConfig(file.name, document)
    if ('config' in made) configs.push(made.config)
    else found.push(...made.problems)
  }
  return { configs, problems: found }
}

type Made = { readonly config: Config } | { readonly problems: readonly Problem[] }

function readConfig(file: string, document: YamlDocument): Made {
  const plain = (typeof document.plain === 'object' ? document.plain : {}) as Readonly<Record<string, unknown>>
  const { kind, apiVersion } = plain
  const report = ({ path, problem }: Mistake): Problem => ({
    file,
    resource: nameResource(plain),
    field: formatPath(path),
    problem,
    ...document.placeOf(path),
  })
  const refuse = (path: readonly PropertyKey[], problem: string): Made => ({ problems: [report({ path, problem })] })
  if (typeof kind !== 'string') return refuse(['kind'], 'is missing: no Kubernetes object')
  if (!isKind(kind)) return refuse(['kind'], `${kind} is not covered${suggestName(kind, Object.keys(KINDS))}`)
  const row = KINDS[kind]
  if (!row.versions.some((version) => apiVersion === `${row.group}/${version}`))
    return refuse(['apiVersion'], `must be ${row.versions.map((v) => `${row.group}/${v}`).join(' or ')}`)
  const parsed = schemaOf(kind, row).safeParse(plain, { jitless: true })
  if (!parsed.success) return { problems: parsed.error.issues.flatMap((issue) => listMistakes(issue, row).map(report)) }
  const config = makeConfig(kind, parsed.data, { file, place: document.placeOf([]) })
  const mistakes = findMistakes(config)
  return mistakes.length === 0 ? { config } : { problems: mistakes.map(report) }
}

/** What a schema by itself does not see. */
function findMistakes({ kind, spec, namespace }: Config): Mistake[] {
  if (kind === 'EnvoyFilter') return findPatchMistakes(spec as EnvoyFilter)
  return kind === 'DestinationRule' ? findExportMistakes(spec as DestinationRule, namespace) : []
}

type Object = { readonly metadata: z.infer<typeof metadata>; readonly spec?: unknown }

const schemas = new Map<Kind, z.ZodType<Object>>()
function schemaOf(kind: Kind, row: KindRow): z.ZodType<Object> {
  const made =
    schemas.get(kind) ??
    z.strictObject({
      apiVersion: z.string(),
      kind: z.string(),
      metadata,
      spec: row.schema.prefault({}),
      status: z.unknown().optional(),
    })
  schemas.set(kind, made)
  return made
}

function makeConfig(kind: Kind, { metadata: m, spec }: Object, where: { file: string; place: Place }): Config {
  return {
    kind,
    name: m.name,
    namespace: m.namespace,
    labels: m.labels ?? {},
    annotations: m.annotations ?? {},
    createdMs: m.creationTimestamp ? Date.parse(m.creationTimestamp) : 0,
    spec: (spec ?? {}) as Config['spec'],
    ...where,
  }
}

function listMistakes(issue: z.core.$ZodIssue, row: KindRow): Mistake[] {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({
      path: [...issue.path, key],
      problem: `is no field that is known here${suggestName(key, listFields(row.schema, issue.path.slice(1)))}`,
    }))
  return [{ path: issue.path, problem: issue.message.charAt(0).toLowerCase() + issue.message.slice(1) }]
}

/** Names of fields beside a path, to suggest the right one. */
function listFields(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at: unknown = unwrap(schema)
  for (const step of path) {
    if (at instanceof z.ZodObject) at = unwrap((at.shape as Record<PropertyKey, unknown>)[step])
    else if (at instanceof z.ZodArray) at = unwrap(at.element)
    else if (at instanceof z.ZodRecord) at = unwrap(at.valueType)
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape as object) : []
}

export function unwrap(schema: unknown): unknown {
  return schema instanceof z.ZodOptional ? unwrap(schema.unwrap()) : schema
}

function nameResource(plain: Readonly<Record<string, unknown>>): string {
  const { namespace, name } = (plain['metadata'] ?? {}) as { readonly namespace?: unknown; readonly name?: unknown }
  const parts = [namespace, name].filter((part) => typeof part === 'string')
  return [plain['kind'], parts.join('/')].filter((part) => typeof part === 'string' && part !== '').join(' ')
}

function formatPath(path: readonly PropertyKey[]): string {
  return path.map((p, i) => (typeof p === 'number' ? `[${p}]` : `${i > 0 ? '.' : ''}${String(p)}`)).join('')
}
