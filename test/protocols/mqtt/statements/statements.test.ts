/** The statement tables of MQTT 5.0, 3.1.1 and 3.1: hex in, packets out. */
import { test } from 'node:test'
import { V311, V5 } from './bytes.ts'
import { play } from './run.ts'
import { CONNACKS } from './rows/connack.ts'
import { CONNECTS } from './rows/connect.ts'
import { DATA } from './rows/data.ts'
import { WILLS } from './rows/will.ts'

for (const row of [...DATA, ...CONNECTS, ...WILLS, ...CONNACKS])
  for (const [name, v, ids] of [
    ['5.0', V5, row.ids.v5],
    ['3.1.1', V311, row.ids.v3],
  ] as const)
    if (ids !== undefined)
      test(`MQTT ${name} [${ids.replaceAll(/\S+/g, 'MQTT-$&')}] ${row.role}: ${row.title}`, () => play(row, v))
