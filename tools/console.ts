/**
 * `npm run test:console [-- NAME …]`: the hub's page in Debian's Chromium, one test file at a time. Names pick files.
 * Needs root on a Debian: Chromium is installed when it is missing. Screenshots go to .cache/console.
 */
import fs from 'node:fs'
import path from 'node:path'
import { runTestFiles } from './peer-tests.ts'

process.chdir(path.resolve(import.meta.dirname, '..'))
runTestFiles('console', fs.globSync('test/console/**/*.test.ts').sort(), process.argv.slice(2))
