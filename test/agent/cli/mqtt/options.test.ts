import { test } from 'node:test'
import assert from 'node:assert/strict'
import { meshlet, says } from '../../../scenarios/cli.ts'

const wrong = async (argv: readonly string[]): Promise<string> => {
  const said = await meshlet(['mqtt', ...argv])
  assert.equal(said.code, 2, `${argv.join(' ')}: ${said.err}`)
  assert.equal(said.out, '')
  return said.err
}

test('a secret that is an argument is refused, and not repeated', async () => {
  for (const secret of [
    ['-P', 'hunter2'],
    ['--pw', 'hunter2'],
    ['--psk', 'hunter2'],
    ['-L', 'mqtt://me:hunter2@host/topic'],
  ]) {
    const err = await wrong(['pub', '-t', 'a', '-m', 'x', ...secret])
    assert.match(err, /MESH_CONFIG_INVALID.*everybody on this machine.*file/)
    assert.doesNotMatch(err, /hunter2/)
  }
})

test("what mosquitto's clients have and meshlet has not says what to do instead", async () => {
  for (const argv of [
    ['-A', '10.0.0.1'],
    ['-S'],
    ['--proxy', 'socks5h://x'],
    ['--tls-engine', 'tpm'],
    ['--capath', '/x'],
  ])
    says(await meshlet(['mqtt', 'sub', '-t', 'a', ...argv]), {
      exit: 2,
      code: 'MESH_CONFIG_INVALID',
      what: /is not known here: ./,
      remedy: /Correct/,
    })
})

for (const [what, argv, why] of [
  ['no topic', ['pub', '-m', 'x'], /a topic is needed: -t/],
  ['a wildcard in a topic', ['pub', '-t', 'a/#', '-m', 'x'], /no topic to publish to/],
  ['no message', ['pub', '-t', 'a'], /one of -m, -f, -n, -s and -l/],
  ['two messages', ['pub', '-t', 'a', '-m', 'x', '-n'], /only one/],
  ['lines and a message', ['pub', '-t', 'a', '-l', '-m', 'x'], /only one/],
  ['a file that is not there', ['pub', '-t', 'a', '-f', '/nowhere/x'], /there is no file \/nowhere\/x/],
  ['QoS 3', ['pub', '-t', 'a', '-m', 'x', '-q', '3'], /0 to 2/],
  ['a session without an id', ['sub', '-t', 'a', '-c'], /needs a client id/],
  ['an endless session without an id', ['sub', '-t', 'a', '-x', '-1'], /needs a client id/],
  ['an id and a prefix', ['sub', '-t', 'a', '-i', 'x', '-I', 'y'], /exclude each other/],
  ['a will without a topic', ['sub', '-t', 'a', '--will-retain'], /needs a topic/],
  ['no subscription', ['sub'], /a topic filter is needed/],
  ['-R and only retained', ['sub', '-t', 'a', '-R', '--retained-only'], /exclude each other/],
  ['a certificate without a key', ['sub', '-t', 'a', '--cafile', '/dev/null', '--cert', 'x'], /belong together/],
  ['a URL of something else', ['sub', '-L', 'http://host/topic'], /-L must be/],
  ['a version that is none', ['sub', '-t', 'a', '-V', '6'], /mqttv5, mqttv311 or mqttv31/],
  ['no seconds', ['sub', '-t', 'a', '-W', '0'], /1 to/],
  ['a pre-shared key of nobody', ['sub', '-t', 'a', '--psk-file', '/dev/null'], /--psk-identity/],
] as const)
  test(`${what} is wrong usage`, async () => {
    assert.match(await wrong(argv), why)
  })
