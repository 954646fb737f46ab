import { testKills } from './profile-kills.ts'

testKills({ profile: 'strict', kills: 80 })
