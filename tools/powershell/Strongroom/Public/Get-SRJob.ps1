function Get-SRJob {
    <#
    .SYNOPSIS
        Gets jobs.

    .DESCRIPTION
        All jobs, those of a name, or one by its id. Properties are those of the REST API: id, name, organization,
        repository, workloads, users, created_at.

    .PARAMETER Name
        Names; * and ? stand for other characters. A name without them that no job has is an error.

    .PARAMETER Id
        Ids.

    .EXAMPLE
        Get-SRJob

        All jobs.

    .EXAMPLE
        Get-SRJob -Name 'Mail*' | Start-SRJob

        Starts every job whose name begins with Mail.

    .OUTPUTS
        Strongroom.Job
    #>
    [CmdletBinding(DefaultParameterSetName = 'Name')]
    [OutputType('Strongroom.Job')]
    param(
        [Parameter(ParameterSetName = 'Name', Position = 0, ValueFromPipeline)]
        [SupportsWildcards()]
        [string[]] $Name = '*',

        [Parameter(ParameterSetName = 'Id', Mandatory)]
        [string[]] $Id
    )

    process {
        try {
            if ($PSCmdlet.ParameterSetName -eq 'Id') {
                foreach ($each in $Id) {
                    Invoke-SRRequest -Method Get -Path '/jobs/{id}' -Parameter @{ id = $each } |
                        Add-SRType -TypeName 'Strongroom.Job'
                }
                return
            }
            $jobs = @(Get-SRPage -Path '/jobs' -TypeName 'Strongroom.Job')
        }
        catch [System.InvalidOperationException] {
            $PSCmdlet.WriteError($_)
            return
        }
        foreach ($pattern in $Name) {
            $found = @($jobs | Where-Object -FilterScript { $_.name -like $pattern -or $_.name -eq $pattern })
            if ($found.Count -eq 0 -and -not [wildcardpattern]::ContainsWildcardCharacters($pattern)) {
                $message = "There is no job named '$pattern'."
                $PSCmdlet.WriteError((New-SRErrorRecord -Status 404 -Code 'job-not-found' -Message $message -Target $pattern))
            }
            $found
        }
    }
}
