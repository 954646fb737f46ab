import { test } from 'node:test'
import assert from 'node:assert/strict'
import { isDirect } from '../../model/ip.ts'

for (const [noProxy, host, port, want] of [
  ['*', 'a', 1, true],
  ['example.com', 'example.com', 1, true],
  ['example.com', 'a.example.com', 1, true],
  ['.example.com', 'a.example.com', 1, true],
  ['*.example.com', 'A.Example.COM', 1, true],
  ['example.com', 'badexample.com', 1, false],
  ['example.com:8883', 'example.com', 8883, true],
  ['example.com:8883', 'example.com', 1883, false],
  ['10.0.0.0/8', '10.1.2.3', 1, true],
  ['10.0.0.0/8', '11.1.2.3', 1, false],
  ['10.0.0.1', '10.0.0.1', 1, true],
  ['10.0.0.1:80', '10.0.0.1', 81, false],
  ['::1', '::1', 1, true],
  ['[::1]:80', '::1', 80, true],
  ['[::1]:80', '::1', 81, false],
  ['fd00::/8', 'fd12::1', 1, true],
  ['', 'a', 1, false],
  ['.', 'a', 1, false],
  ['example.com.', 'example.com', 1, true],
  ['example.com', 'example.com.', 1, true],
  ['10.0.0.0/8', '/run/broker.sock', 0, true],
  ['x', '10.0.0.1', 1, false],
  ['EXAMPLE.com', 'a.example.com', 1, true],
  ['*.example.com:8883', 'a.example.com', 1883, false],
  ['10.0.0.0/8:443', '10.1.1.1', 443, true],
  ['10.0.0.0/8:443', '10.1.1.1', 80, false],
] as const)
  test(`noProxy ${noProxy}: ${host}:${port} is ${want ? 'direct' : 'through the proxy'}`, () =>
    assert.equal(isDirect([noProxy], { host, port }), want))
