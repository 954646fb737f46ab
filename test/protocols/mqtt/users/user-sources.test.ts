/** What goes over to other settings, and what begins anew. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../../core/log.ts'
import type { KeySource } from '../../../../core/jwt/key-source.ts'
import { UserSources } from '../../../../protocols/mqtt/users/user-sources.ts'
import { createKey } from '../../../helpers/jwt.ts'
import { FilesDisk, line, settingsOf, type UsersInput } from '../../../helpers/mqtt/users.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const ISSUER = { issuer: 'https://id', audiences: ['mqtt'] }
const PSK = 'a:00112233445566778899aabbccddeeff'

class Rig {
  readonly files = new FilesDisk()
  readonly clock = new SimClock()
  readonly fetched: string[] = []
  open(settings: UsersInput, before?: UserSources): UserSources {
    return new UserSources(
      settingsOf(settings),
      {
        disk: this.files.disk,
        clock: this.clock,
        log: silentLog,
        time: () => ({ nowMs: 0 }),
        fetchKeys: (url) => this.#fetch(url),
        onChange: () => undefined,
      },
      before,
    )
  }
  #fetch(url: string): KeySource {
    this.fetched.push(url)
    return {
      current: () => assert.fail('nobody asks'),
      lookAgain: async () => false,
      problems: () => [],
      [Symbol.dispose]: () => this.fetched.push(`${url} ended`),
    }
  }
}

test('what is named again goes over as it is, the rest ends with the settings that named it', async () => {
  const rig = new Rig()
  rig.files.write('/p', line('ana', 'a'))
  rig.files.write('/q', line('ana', 'a'))
  rig.files.write('/k', PSK)
  const kept = { ...ISSUER, jwksUrl: 'https://id/kept' }
  const gone = { ...ISSUER, issuer: 'https://other', jwksUrl: 'https://id/gone' }
  const first = rig.open({ passwordFile: '/p', pskFile: '/k', jwt: { issuers: [kept, gone] } })
  await first.ready
  const ana = first.passwords?.content.users.get('ana')
  const next = rig.open({ passwordFile: '/q', pskFile: '/k', jwt: { issuers: [kept] } }, first)
  await next.ready
  assert.equal(next.keys, first.keys)
  assert.equal(next.tokens?.issuers[0], first.tokens?.issuers[0])
  assert.equal(next.passwords?.content.users.get('ana'), ana, 'the same line in another file is the same secret')
  first.end(next)
  assert.deepEqual(rig.fetched, ['https://id/kept', 'https://id/gone', 'https://id/gone ended'])
  rig.files.write('/k', PSK.replace('a:', 'b:'))
  await rig.clock.advance(2_250)
  assert.ok(next.keys?.content.keys.has('b'), 'it is still watched')
  next.end(undefined)
  assert.equal(rig.clock.pendingTimers, 0)
})

test('an issuer with one other setting is another', () => {
  const rig = new Rig()
  const jwks = { keys: [createKey().jwk] }
  const first = rig.open({ jwt: { issuers: [{ ...ISSUER, jwks }] } })
  const next = rig.open({ jwt: { issuers: [{ ...ISSUER, jwks, userClaim: 'name' }] } }, first)
  assert.notEqual(next.tokens?.issuers[0], first.tokens?.issuers[0])
})

test('of files that are new one that cannot be used is found; one that was there before is no news', async () => {
  const rig = new Rig()
  const first = rig.open({ passwordFile: '/p' })
  await first.ready
  assert.equal(first.findUnusable(undefined)?.code, 'MESH_MQTT_USERS_FILE')
  for (const more of [{ pskFile: '/k' }, { jwt: { issuers: [{ ...ISSUER, jwksFile: '/j' }] } }]) {
    const next = rig.open({ passwordFile: '/p', ...more }, first)
    await next.ready
    assert.match(next.findUnusable(first)?.message ?? '', /mqtt\.users\.(?:pskFile|jwt jwksFile) \/[kj]: there is no/)
  }
  const same = rig.open({ passwordFile: '/p', maxPasswordChecks: 2 }, first)
  await same.ready
  assert.equal(same.findUnusable(first), undefined)
})
