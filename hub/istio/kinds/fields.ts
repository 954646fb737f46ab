/** What specs of several kinds are made of. Names are those of Istio's API. */
import * as z from 'zod'
import { compileRegex } from '../../../core/regex.ts'
import { isKnownProtocol } from '../mesh/protocols.ts'
import { isDuration, isWholeMs } from './durations.ts'

/** A field that Istio has and that is not compiled: its file is refused, with the reason. */
export function refuse(why: string): z.ZodOptional<z.ZodNever> {
  return z
    .never({ error: `is not covered: ${why}` })
    .meta({ refused: why })
    .optional()
}

export const text = z.string().max(65_536)
export const name = z.string().min(1).max(253)
export const dnsLabel = name.regex(
  /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/,
  'must be letters, digits and "-", 63 at most',
)
export const port = z.int().min(1).max(65_535)
export const count = z.int().min(0).max(4_294_967_295)
/** As Go writes it: 1h, 5m, 10s, 0.5s, 100ms. */
export const anyDuration = z.string().refine(isDuration, 'must be a duration, as 10s, 0.5s, 100ms, 5m')
export const duration = z
  .string()
  .refine(isWholeMs, 'must be a duration of whole milliseconds, at least 1ms, as 10s, 0.5s, 100ms, 5m')
/** RE2, as Envoy and istiod compile it. */
export const regex = z
  .string()
  .min(1)
  .max(1_024)
  .refine((source) => !('problem' in compileRegex(source)), 'is no regular expression (RE2)')
export const percent = z.strictObject({ value: z.number().min(0).max(100) })
const NO_WILDCARD = 'cannot have a wildcard'
export const labels = z.record(z.string(), z.string())
export const portSelector = z.strictObject({ number: port })

const selectors = z.record(z.string().min(1).refine(isPlain, NO_WILDCARD), z.string().refine(isPlain, NO_WILDCARD))
export const matchLabels = z.strictObject({ matchLabels: selectors.optional() })
/** Of networking.istio.io. */
export const workloadLabels = z.strictObject({ labels: selectors.optional() })

function isPlain(label: string): boolean {
  return !label.includes('*')
}

/** One of them, or none: the header or parameter is there. */
export const stringMatch = z
  .strictObject({ exact: text.optional(), prefix: text.min(1).optional(), regex: regex.optional() })
  .refine((m) => Object.keys(m).length <= 1, 'must be one of exact, prefix and regex')

export const exportTo = z
  .array(z.string().regex(/^(\*|\.|~|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$/, 'must be ".", "*" or a namespace'))
  .refine((all) => new Set(all).size === all.length, 'names one namespace twice')
  .refine((all) => all.length < 2 || !(all.includes('*') || all.includes('~')), 'cannot have "*" or "~" beside others')
  .optional()

export const destination = z.strictObject({
  host: name,
  subset: name.optional(),
  port: portSelector.optional(),
})

export const protocol = z
  .string()
  .max(32)
  .refine((p) => p === '' || isKnownProtocol(p), {
    error: 'is no protocol that Istio knows; leave it out, and the first bytes tell',
  })
  .refine((p) => p.toLowerCase() !== 'mongo', 'Mongo is not covered: say TCP')

export type StringMatch = z.infer<typeof stringMatch>
export type Destination = z.infer<typeof destination>
export type Percent = z.infer<typeof percent>
export type Labels = Readonly<Record<string, string>>
