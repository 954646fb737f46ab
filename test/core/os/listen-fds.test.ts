import { test } from 'node:test'
import assert from 'node:assert/strict'
import { takeListenFds, type ListenFds } from '../../../core/os/listen-fds.ts'

const PID = 4711
const of = (env: Record<string, string>): ListenFds => takeListenFds(env, PID)

test("descriptors from 3 on, each with its name; a name that is not there is systemd's own word for none", () => {
  const env = {
    LISTEN_PID: '4711',
    LISTEN_FDS: '3',
    LISTEN_FDNAMES: 'capture::web',
    LISTEN_PIDFDID: '99',
    PATH: '/bin',
  }
  assert.deepEqual(takeListenFds(env, PID), {
    fds: [
      { fd: 3, name: 'capture' },
      { fd: 4, name: 'unknown' },
      { fd: 5, name: 'web' },
    ],
  })
  assert.deepEqual(env, { PATH: '/bin' }, 'no child may take them for its own')
  assert.deepEqual(of({ LISTEN_PID: '4711', LISTEN_FDS: '2', LISTEN_FDNAMES: 'one' }), {
    fds: [
      { fd: 3, name: 'one' },
      { fd: 4, name: 'unknown' },
    ],
  })
  assert.deepEqual(of({ LISTEN_PID: '4711', LISTEN_FDS: '1' }), { fds: [{ fd: 3, name: 'unknown' }] })
})
test('nothing, and nothing for this process', () => {
  for (const env of [
    {},
    { LISTEN_FDS: '2' },
    { LISTEN_PID: '4711' },
    { LISTEN_PID: '4712', LISTEN_FDS: '2' },
    { LISTEN_PID: '4711', LISTEN_FDS: '0' },
  ]) {
    const left: Record<string, string> = { ...env }
    assert.deepEqual(takeListenFds(left, PID), { fds: [] }, JSON.stringify(env))
    assert.deepEqual(left, {})
  }
})
test('what is no number is told, and no descriptor is touched', () => {
  assert.deepEqual(of({ LISTEN_PID: 'x', LISTEN_FDS: '1' }), {
    fds: [],
    problem: 'LISTEN_PID=x is not the number of a process',
  })
  for (const count of ['-1', '1.5', '', 'two', '1025', '99999999999', '0x2']) {
    assert.deepEqual(of({ LISTEN_PID: '4711', LISTEN_FDS: count }), {
      fds: [],
      problem: `LISTEN_FDS=${count} is not a number up to 1024`,
    })
  }
})
