function Resolve-SRJob {
    <#
    .SYNOPSIS
        Ids of jobs given as objects of Get-SRJob or by name.
    #>
    [CmdletBinding()]
    [OutputType([string])]
    param(
        [Parameter(Mandatory)]
        [object[]] $Job
    )

    foreach ($each in $Job) {
        if ($each -is [string]) {
            (Get-SRJob -Name $each -ErrorAction Stop).id
        }
        else {
            $each.id
        }
    }
}
