import { test } from 'node:test'
import assert from 'node:assert/strict'
import { decodeUtf8 } from '../../../../core/os/files/trusted-file.ts'
import { TimeSlice } from '../../../../core/os/time-slice.ts'
import { READ, WRITE } from '../../../../protocols/mqtt/authorization/acl.ts'
import { parseAclFile } from '../../../../protocols/mqtt/authorization/acl-file.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const slice = new TimeSlice(new SimClock())
async function rights(text: string, user?: string, clientId = 'c'): Promise<(topic: string) => string> {
  const has = (await parseAclFile(decodeUtf8(Buffer.from(text)), slice)).compileFor({ clientId, user })
  return (topic) => `${has(topic, READ) ? 'r' : '-'}${has(topic, WRITE) ? 'w' : '-'}`
}

for (const [line, topic] of [
  ['topic a/b', 'a/b'],
  ['topic readwrite a/b', 'a/b'],
  ['topic  readwrite  a/b  ', 'a/b'],
  ['   topic a/b', 'a/b'],
  ['topic a/b\r', 'a/b'],
  ['topic readwrite a b/c  d', 'a b/c  d'],
  ['topic readwrite \t a/b', 'a/b'],
  ['topic read', 'read'],
  ['topic deny', 'deny'],
  ['topic readwrite $SYS/x', '$SYS/x'],
  ['topic readwrite #', 'anything/at/all'],
  ['# user other\ntopic a', 'a'],
  ['\n\n  \n\t\ntopic a', 'a'],
  ['﻿topic a', 'a'],
  ['topic a/%c', 'a/%c'],
  ['pattern a/%c', 'a/c'],
] as const)
  test(`a line as mosquitto reads it: ${JSON.stringify(line)}`, async () => {
    assert.equal((await rights(line))(topic), 'rw')
  })

for (const [text, problem] of [
  ['topic', 'line 1: `topic` has no topic'],
  ['user a\n\npattern', 'line 3: `pattern` has no topic'],
  ['user', 'line 1: `user` has no name'],
  ['user   ', 'line 1: `user` has no name'],
  ['topic a/b c', 'line 1: "a/b" is none of read, write, readwrite, deny'],
  ['topic toString c', 'line 1: "toString" is none of read, write, readwrite, deny'],
  ['topic READ c', 'line 1: "READ" is none of read, write, readwrite, deny'],
  ['topic read a/b+', 'line 1: [MQTT-4.7.1-2] + must be alone in its level'],
  ['topic readwrite #x\ntopic a', 'line 1: [MQTT-4.7.1-1] # must be the last level and alone in it'],
  ['topic read a/#/b', 'line 1: [MQTT-4.7.1-1] # must be the last level and alone in it'],
  ['pattern read %c+/x', 'line 1: [MQTT-4.7.1-2] + must be alone in its level'],
  ['topic a\nTopic b', 'line 2: "Topic" is none of user, topic and pattern'],
  ['topic\tread a', 'line 1: "topic\\tread" is none of user, topic and pattern'],
  ['topic a\n # not a comment', 'line 2: "#" is none of user, topic and pattern'],
  ['topic a\n\ttopic b', 'line 2: "\\ttopic" is none of user, topic and pattern'],
  ['topic a\0b', 'line 1: it holds U+0000'],
  [`${'x'.repeat(100_000)} y`, `line 1: "${'x'.repeat(40)}" is none of user, topic and pattern`],
] as const)
  test(`a file that mosquitto does not take is refused with its line: ${JSON.stringify(text.slice(0, 40))}`, async () => {
    await assert.rejects(rights(text), { message: problem })
  })
test('an empty file allows nothing', async () => {
  assert.equal((await rights(''))('a'), '--')
})
