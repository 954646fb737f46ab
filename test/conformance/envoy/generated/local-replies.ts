/** local_reply_config by chance: which answers of a proxy's own get which status and fields. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { Dice } from '../../../fuzz/live/words.ts'
import { chance, compact } from './matches.ts'

const OPERATORS = ['EQ', 'GE', 'LE'] as const
const status = (dice: Dice): JsonObject => ({
  status_code_filter: {
    comparison: { op: dice.one(OPERATORS), value: { default_value: dice.one([301, 403, 404, 503]), runtime_key: 'k' } },
  },
})
const header = (dice: Dice): JsonObject => ({
  header_filter: { header: { name: dice.one(['x-a', 'x-b', ':method']), present_match: true } },
})
const flags = (dice: Dice): JsonObject => ({ response_flag_filter: { flags: [dice.one(['NR', 'NC', 'UF', 'UC'])] } })

function filter(dice: Dice): JsonObject {
  const one = (): JsonObject => dice.one([status, status, header, flags])(dice)
  if (dice.hits(0.8)) return one()
  return { [dice.one(['and_filter', 'or_filter'])]: { filters: [one(), one()] } }
}

/** Envoy joins the values of `location`. */
function addition(dice: Dice): JsonObject {
  const key = dice.one(['l-a', 'r-a', 'Location'])
  return {
    header: { key, value: dice.one(['mapped', '%RESPONSE_CODE%', '%REQ(x-a)%']) },
    append_action: dice.one([
      ...(key === 'Location' ? [] : ['APPEND_IF_EXISTS_OR_ADD']),
      'ADD_IF_ABSENT',
      'OVERWRITE_IF_EXISTS_OR_ADD',
    ]),
  }
}

export function localReplies(dice: Dice): JsonObject {
  return {
    mappers: dice.times(3, () =>
      compact({
        filter: filter(dice),
        status_code: chance(dice, 0.6, () => dice.one([200, 404, 429, 503])),
        headers_to_add: chance(dice, 0.6, () => [addition(dice)]),
      }),
    ),
  }
}
