import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { systemDisk } from '../../../core/os/disk.ts'
import { silentLog } from '../../../core/log.ts'
import { listControlNames, type ControlNames } from '../../../control-sync/connection/last-known-addresses.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

type Dns = { answer: readonly string[] | Error | 'nothing' }

function made(t: { after(fn: () => void): void }): {
  dns: Dns
  clock: SimClock
  file: string
  writes: () => number
  anew: () => ControlNames
} {
  const folder = temporaryFolder(t)
  const dns: Dns = { answer: [] }
  const clock = new SimClock()
  const file = path.join(folder, 'control-names.json')
  let writes = 0
  const disk = {
    ...systemDisk,
    replace: (...args: Parameters<typeof systemDisk.replace>) => {
      writes++
      systemDisk.replace(...args)
    },
  }
  const lookup = async (): Promise<readonly string[]> => {
    if (dns.answer === 'nothing')
      return new Promise(() => {
        /* a resolver that is not there */
      })
    if (dns.answer instanceof Error) throw dns.answer
    return dns.answer
  }
  return {
    dns,
    clock,
    file,
    writes: () => writes,
    anew: () => listControlNames({ lookup, disk, file, clock, log: silentLog }),
  }
}

test('what DNS said is used when DNS is gone, also by the next process', async (t) => {
  const m = made(t)
  m.dns.answer = ['10.0.0.1', 'fd00::1']
  assert.deepEqual(await m.anew()('istiod.example'), ['10.0.0.1', 'fd00::1'])
  m.dns.answer = Object.assign(new Error('getaddrinfo ENOTFOUND istiod.example'), { code: 'ENOTFOUND' })
  assert.deepEqual(await m.anew()('istiod.example'), ['10.0.0.1', 'fd00::1'])
  assert.equal(fs.statSync(m.file).mode & 0o777, 0o600)
  await assert.rejects(m.anew()('other.example'), {
    code: 'MESH_CONTROL_UNREACHABLE',
    message: /other\.example cannot be resolved: getaddrinfo ENOTFOUND/,
  })
})
test('a resolver that does not answer is given up after 5 s', async (t) => {
  const m = made(t)
  m.dns.answer = ['10.0.0.1']
  await m.anew()('istiod.example')
  m.dns.answer = 'nothing'
  const asked = m.anew()('istiod.example')
  await m.clock.advance(5_000)
  assert.deepEqual(await asked, ['10.0.0.1'])
})
test('it is written when the addresses change, and not when they come in another order', async (t) => {
  const m = made(t)
  const names = m.anew()
  for (const answer of [
    ['10.0.0.1', '10.0.0.2'],
    ['10.0.0.2', '10.0.0.1'],
    ['10.0.0.2', '10.0.0.1'],
  ]) {
    m.dns.answer = answer
    await names('a.example')
  }
  assert.equal(m.writes(), 1)
  m.dns.answer = ['10.0.0.3']
  await names('a.example')
  assert.equal(m.writes(), 2)
  m.dns.answer = new Error('gone')
  assert.deepEqual(await names('a.example'), ['10.0.0.3'])
})
test('several hosts have their own addresses, and no more than 16 are kept', async (t) => {
  const m = made(t)
  const names = m.anew()
  for (let i = 0; i < 20; i++) {
    m.dns.answer = [`10.0.0.${i}`]
    await names(`h${i}.example`)
  }
  m.dns.answer = new Error('gone')
  assert.deepEqual(await names('h19.example'), ['10.0.0.19'])
  await assert.rejects(names('h0.example'))
  assert.equal(Object.keys(JSON.parse(fs.readFileSync(m.file, 'utf8')) as object).length, 16)
})
test('a damaged file, a full disk and an answer that is no address do no harm', async (t) => {
  const m = made(t)
  for (const content of ['{"a.example": ', '[]', 'null', '{"a.example": "10.0.0.1"}', '{"a.example": ["; rm", 7]}']) {
    fs.writeFileSync(m.file, content)
    m.dns.answer = new Error('gone')
    await assert.rejects(m.anew()('a.example'), { code: 'MESH_CONTROL_UNREACHABLE' })
  }
  m.dns.answer = ['nonsense']
  await assert.rejects(m.anew()('a.example'), { code: 'MESH_CONTROL_UNREACHABLE' })
  const full = listControlNames({
    lookup: async () => ['10.0.0.1'],
    disk: {
      ...systemDisk,
      replace: () => {
        throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
      },
    },
    file: m.file,
    clock: m.clock,
    log: silentLog,
  })
  assert.deepEqual(await full('a.example'), ['10.0.0.1'])
})
