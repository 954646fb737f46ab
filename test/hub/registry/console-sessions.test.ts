import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Session } from '../../../hub/registry/console-sessions.ts'
import { openRegistry } from '../../../hub/registry/registry.ts'

const viewer = [{ namespace: 'edge', role: 'viewer' }] as const
const link = { hash: 'h1', operator: 'operator:ann', grants: viewer, endsMs: 100 }
const session = (hash: string, more: Partial<Session> = {}): Session => ({
  hash,
  operator: 'operator:ann',
  name: 'ann',
  via: 'link',
  grants: viewer,
  claims: [],
  createdMs: 1,
  seenMs: 1,
  endsMs: 1_000,
  address: '10.0.0.1',
  ...more,
})

test('a link is had by whoever takes it first, and by nobody at its end', async () => {
  await using registry = openRegistry(':memory:')
  const { sessions } = registry
  await sessions.addLink(link, 0)
  const taken = await Promise.all([
    sessions.takeLink('h1', 50),
    sessions.takeLink('h1', 50),
    sessions.takeLink('h1', 50),
  ])
  assert.deepEqual(
    taken.filter((one) => one !== undefined),
    [link],
  )
  await sessions.addLink(link, 0)
  assert.equal(await sessions.takeLink('h1', 100), undefined)
})

test('links and sessions that nobody ends do not fill the disk: the oldest make room', async () => {
  await using registry = openRegistry(':memory:')
  const { sessions } = registry
  await registry.exclusively(async (tx) => {
    for (let i = 0; i < 1_005; i++) {
      await tx.sessions.addLink({ ...link, hash: `l${i}`, endsMs: 10_000 + i }, 0)
      await tx.sessions.add(session(`s${i}`, { seenMs: i }))
    }
  })
  assert.equal((await sessions.all()).length, 1_000)
  assert.equal(await sessions.find('s0'), undefined)
  assert.notEqual(await sessions.find('s1004'), undefined)
  assert.equal(await sessions.takeLink('l0', 1), undefined)
  assert.notEqual(await sessions.takeLink('l1004', 1), undefined)
})

test('sessions of somebody end together, with links that are not used; those with other rights end alone', async () => {
  await using registry = openRegistry(':memory:')
  const { sessions } = registry
  await sessions.addLink(link, 0)
  await sessions.add(session('a'))
  await sessions.add(session('b', { grants: [{ namespace: '*', role: 'admin' }] }))
  await sessions.add(session('c', { operator: 'operator:bob' }))
  await sessions.endOthers('operator:ann', viewer)
  assert.deepEqual(
    (await sessions.all()).map(({ hash }) => hash),
    ['a', 'c'],
  )
  assert.equal(await sessions.endOf('operator:ann'), 2)
  assert.equal(await sessions.takeLink('h1', 1), undefined)
  assert.deepEqual(
    (await sessions.all()).map(({ hash }) => hash),
    ['c'],
  )
})
