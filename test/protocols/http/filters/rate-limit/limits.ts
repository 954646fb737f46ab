/** A local rate limit from a few words. */
import type { LocalRateLimit } from '../../../../../model/http/rate-limit.ts'

const NOTHING = { remove: [], add: [] }

export const limitOf = (more: Partial<LocalRateLimit> = {}): LocalRateLimit => ({
  statPrefix: 's',
  bucket: { maxTokens: 1, tokensPerFill: 1, fillMs: 1_000 },
  enabledFraction: 1,
  enforcedFraction: 1,
  status: 429,
  descriptors: [],
  maxDynamic: 20,
  alwaysDefault: true,
  perConnection: false,
  tellsRest: false,
  tellsRetryAfter: false,
  isExhaustion: false,
  rules: [],
  stage: 0,
  hostRules: 'override',
  answerHeaders: NOTHING,
  requestHeaders: NOTHING,
  ...more,
})
