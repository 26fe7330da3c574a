# Pester 5. Runs where pwsh is; the server is a mock of the one function that talks to it.

BeforeAll {
    Import-Module (Join-Path $PSScriptRoot 'Strongroom/Strongroom.psd1') -Force

    function New-Answer {
        param([string] $Id, [string] $Name)
        [pscustomobject]@{ id = $Id; name = $Name; workloads = @('mail'); users = @() }
    }
}

Describe 'Get-SRJob' {
    It 'reads every page' {
        Mock -ModuleName Strongroom Invoke-SRRequest {
            if ($Query['after']) {
                [pscustomobject]@{ items = @([pscustomobject]@{ id = '2'; name = 'Two' }); next = $null }
            }
            else {
                [pscustomobject]@{ items = @([pscustomobject]@{ id = '1'; name = 'One' }); next = '1' }
            }
        }
        (Get-SRJob).name | Should -Be @('One', 'Two')
    }

    It 'reports a name that no job has' {
        Mock -ModuleName Strongroom Invoke-SRRequest { [pscustomobject]@{ items = @(); next = $null } }
        Get-SRJob -Name 'None' -ErrorAction SilentlyContinue -ErrorVariable problem
        $problem[0].FullyQualifiedErrorId | Should -BeLike 'SR.job-not-found*'
    }
}

Describe 'Start-SRJob' {
    It 'starts nothing with -WhatIf' {
        Mock -ModuleName Strongroom Invoke-SRRequest { throw 'must not be called' }
        New-Answer -Id '1' -Name 'One' | Start-SRJob -WhatIf
        Should -Invoke -ModuleName Strongroom Invoke-SRRequest -Times 0
    }

    It 'waits for the end' {
        Mock -ModuleName Strongroom Start-Sleep { }
        Mock -ModuleName Strongroom Invoke-SRRequest {
            $ended = if ($Method -eq 'Get') { '2026-01-01T00:00:00Z' } else { $null }
            $state = if ($ended) { 'success' } else { 'queued' }
            $totals = [pscustomobject]@{ tasks = 1; tasks_ended = 0; items_stored = 0 }
            [pscustomobject]@{ id = 's'; job_name = 'One'; state = $state; ended_at = $ended; totals = $totals }
        }
        (New-Answer -Id '1' -Name 'One' | Start-SRJob -Wait).state | Should -Be 'success'
    }
}

Describe 'Without a connection' {
    It 'says what to do' {
        Disconnect-SRServer
        { Get-SRJob -ErrorAction Stop } | Should -Throw '*Connect-SRServer*'
    }
}
